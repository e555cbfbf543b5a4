// Signing in with the API key, and out, without leaving the page.

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

/** Open the sign-in form after a request was refused. */
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
    toast("Signed in. You can now make changes on this server.");
    document.dispatchEvent(new CustomEvent("catdog:signed-in"));
  } catch (refused) {
    error.textContent = refused.status === 401 ? "Invalid API key." : describe(refused);
    error.hidden = false;
    field.select();
  }
}

/** Replace the form by the one the server renders after signing in. */
function becomeSignedIn(box, form, csrfToken) {
  const summary = box.querySelector("summary");
  box.open = false;
  summary.textContent = "Signed in";
  summary.focus();
  form.replaceWith(
    element(
      "form",
      { class: "card sign-in-form", method: "post", action: "/session/end" },
      element("p", {}, "You can make changes on this server."),
      element("input", { type: "hidden", name: "csrf_token", value: csrfToken }),
      element("button", { type: "submit" }, "Sign out"),
    ),
  );
}
