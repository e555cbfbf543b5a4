// Signing in with the server's key, and out, without leaving the page.

import { describe, send, setToken } from "./api.js";
import { element } from "./dom.js";
import { toast } from "./toasts.js";

export function start() {
  const box = document.getElementById("sign-in");
  document.addEventListener("catdog:key-needed", () => ask(box));
  document.getElementById("sign-in-form")?.addEventListener("submit", signIn);
  box?.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && box.open) {
      box.open = false;
      box.querySelector("summary").focus();
    }
  });
}

/** Open the form where something was refused for want of the key. */
function ask(box) {
  if (!box || box.open) return;
  box.open = true;
  document.getElementById("key")?.focus();
}

async function signIn(event) {
  event.preventDefault();
  const field = document.getElementById("key");
  const error = document.getElementById("sign-in-error");
  error.hidden = true;
  try {
    const state = await send("/session", { json: { key: field.value } });
    setToken(state.csrf_token);
    field.value = "";
    becomeSignedIn(document.getElementById("sign-in"), event.target, state.csrf_token);
    toast("You are signed in, and may change things on this server.");
    document.dispatchEvent(new CustomEvent("catdog:signed-in"));
  } catch (refused) {
    error.textContent = describe(refused);
    error.hidden = false;
    field.select();
  }
}

/** Turn the form into the one that the server renders for who is signed in. */
function becomeSignedIn(box, form, csrfToken) {
  const summary = box.querySelector("summary");
  box.open = false;
  summary.textContent = "Signed in";
  summary.focus();
  form.replaceWith(
    element(
      "form",
      { class: "card sign-in-form", method: "post", action: "/session/end" },
      element("p", {}, "You may change things on this server."),
      element("input", { type: "hidden", name: "csrf_token", value: csrfToken }),
      element("button", { type: "submit" }, "Sign out"),
    ),
  );
}
