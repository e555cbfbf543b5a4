// Short messages at the foot of the page, with Undo in place of a question before.

import { describe } from "./api.js";
import { element } from "./dom.js";

const SECONDS = 8;
const MOST = 4;

/**
 * Show a message until it is dismissed, or for some seconds in which nobody points at it.
 * @param {string} text
 * @param {Object} options `undo`: what to do on Undo; `failed`: true for an error, which is read out at once
 */
export function toast(text, { undo = null, failed = false } = {}) {
  const region = document.getElementById("toasts");
  const made = element("div", { class: failed ? "toast failed" : "toast", role: failed ? "alert" : "status" });
  const dismiss = () => made.remove();
  // A region is read out when its text changes, so that it comes after the region.
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
