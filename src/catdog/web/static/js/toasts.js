// Short messages at the bottom of the page, with Undo instead of a confirmation.

import { describe } from "./api.js";
import { element } from "./dom.js";

const SECONDS = 8;
const MOST = 4;

/**
 * Show a message until it is dismissed, or for some seconds without pointer or focus on it.
 * @param {string} text
 * @param {Object} options `undo`: called on Undo; `failed`: true for an error, announced at once
 */
export function toast(text, { undo = null, failed = false } = {}) {
  const region = document.getElementById("toasts");
  const made = element("div", { class: failed ? "toast failed" : "toast", role: failed ? "alert" : "status" });
  const dismiss = () => made.remove();
  // Screen readers announce changes of a live region, so the text is added after it.
  region.append(made);
  while (region.children.length > MOST) region.firstElementChild.remove();
  made.append(element("p", {}, text));
  if (undo) made.append(element("button", { type: "button", class: "small", onclick: () => run(undo, dismiss) }, "Undo"));
  made.append(element("button", { type: "button", class: "small quiet", "aria-label": "Dismiss", onclick: dismiss }, "✕"));
  let left = setTimeout(dismiss, SECONDS * 1000);
  const stay = () => clearTimeout(left);
  const go = () => {
    stay();
    left = setTimeout(dismiss, SECONDS * 1000);
  };
  for (const event of ["pointerenter", "focusin"]) made.addEventListener(event, stay);
  for (const event of ["pointerleave", "focusout"]) made.addEventListener(event, go);
  return made;
}

/** Show an error in words. */
export function failure(error) {
  return toast(describe(error), { failed: true });
}

async function run(undo, dismiss) {
  dismiss();
  try {
    await undo();
  } catch (error) {
    failure(error);
  }
}
