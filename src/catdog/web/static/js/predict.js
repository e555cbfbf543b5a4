// The Predict tab. One request per image, so a broken one doesn't delay the others.

import { describe, send } from "./api.js";
import { offerCamera } from "./camera.js";
import { element } from "./dom.js";
import { startHistory } from "./history.js";
import { makeResult } from "./result.js";
import { toast } from "./toasts.js";

const AT_ONCE = 2;
const MOST = 50;
const PASTE_REFUSED = "The browser blocked access to the clipboard. Press Ctrl+V instead.";

export function start(panel) {
  const form = panel.querySelector("#predict-form");
  const tab = {
    panel,
    form,
    results: panel.querySelector("#results"),
    said: panel.querySelector("#said"),
    classes: JSON.parse(form.dataset.classes),
    unsureBelow: Number(form.dataset.unsureBelow),
    mayChange: form.dataset.mayChange === "true",
    keyNeeded: form.dataset.keyNeeded === "true",
    history: startHistory(panel),
  };
  const take = (files) => classify(tab, [...files]);
  panel.querySelector(".prediction")?.remove(); // from a form sent before the script loaded
  enhanceForm(tab, take);
  acceptDrops(tab, take);
  document.addEventListener("paste", (event) => {
    if (panel.hidden || !event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files);
  });
  document.addEventListener("keydown", (event) => shortcut(event, tab));
}

/** Replace the form's plain fields by buttons. */
function enhanceForm({ panel, form }, take) {
  const input = panel.querySelector("#image");
  input.multiple = true;
  for (const id of ["#image-label", "#image", "#ask"]) panel.querySelector(id).hidden = true;
  for (const id of ["#drop-hint", "#other-ways"]) panel.querySelector(id).hidden = false;
  panel.querySelector("#choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // the same file can be chosen again
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  const paste = panel.querySelector("#paste");
  paste.hidden = !navigator.clipboard?.read;
  paste.addEventListener("click", () => readClipboard(take));
  offerCamera(panel.querySelector("#camera"), panel.querySelector("#ways-hint"), take);
}

async function readClipboard(take) {
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    toast(PASTE_REFUSED, { failed: true });
    return;
  }
  const files = [];
  for (const item of items) {
    const type = item.types.find((name) => name.startsWith("image/"));
    if (type) files.push(new File([await item.getType(type)], "pasted image", { type }));
  }
  if (files.length) take(files);
  else toast("No image on the clipboard. Copy one first.", { failed: true });
}

function acceptDrops({ panel, form }, take) {
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  // The whole tab accepts drops: an image dropped beside the box would replace the page.
  panel.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    form.classList.add("over");
  });
  panel.addEventListener("dragleave", (event) => {
    if (!panel.contains(event.relatedTarget)) form.classList.remove("over");
  });
  panel.addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    form.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

/** Classify images, the first on top, at most two at a time. */
async function classify(tab, files) {
  if (!files.length) return;
  if (files.length > MOST) {
    toast(`Only the first ${MOST} of ${files.length} images are classified. For more, use the API.`);
    files = files.slice(0, MOST);
  }
  tab.results.hidden = false;
  tab.form.classList.add("compact");
  const waiting = files.map((file) => ({ file, item: element("li", { class: "card result", tabindex: "-1" }) }));
  tab.results.prepend(...waiting.map(({ item }) => item));
  for (const { file, item } of waiting) item.append(element("p", { class: "muted" }, `${file.name}: analysing…`));
  const said = [];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) said.push(await predict(tab, next.file, next.item));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  tab.said.textContent = said.join(". ");
}

/** Classify one image and fill its card; returns the result in words. */
async function predict(tab, file, item) {
  const form = new FormData();
  form.append("image", file, "image");
  try {
    const prediction = await send("/api/predict", { form });
    const result = makeResult(tab, file, prediction, item);
    tab.history.add(file, prediction, tab.classes);
    return `${file.name}: ${result.title}`;
  } catch (error) {
    item.classList.add("failed");
    const dismiss = () => item.remove();
    item.replaceChildren(
      element("div", { class: "prediction" },
        element("p", { class: "file-name" }, file.name),
        element("p", { class: "error" }, describe(error)),
        element("div", { class: "row" }, element("button", { type: "button", class: "small", onclick: dismiss }, "Dismiss"))),
    );
    return `${file.name}: ${error.message.replace(/\.$/, "")}`;
  }
}

/** Keys 1 and 2 press the feedback buttons of the focused card, or else of the first; not while typing. */
function shortcut(event, { panel, results }) {
  if (panel.hidden || event.ctrlKey || event.altKey || event.metaKey || !["1", "2"].includes(event.key)) return;
  if (event.target.closest?.("input, textarea, select, dialog, details[open]")) return;
  const card = event.target.closest?.(".result") ?? results.querySelector(".result:not(.failed)");
  const button = card?.querySelector(`[data-key="${event.key}"]`);
  if (button && !button.disabled) button.click();
}
