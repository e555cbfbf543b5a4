// The tab "Predict": pictures in, answers out. One request a picture, so that a broken one keeps no other waiting.

import { describe, send } from "./api.js";
import { offerCamera } from "./camera.js";
import { element } from "./dom.js";
import { startHistory } from "./history.js";
import { makeResult } from "./result.js";
import { toast } from "./toasts.js";

const AT_ONCE = 2;
const MOST = 50;
const PASTE_REFUSED = "The browser did not let this page read the clipboard. Press Ctrl and V instead.";

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
  const take = (files) => ask(tab, [...files]);
  panel.querySelector(".answer")?.remove(); // from a form that was sent before the script was there
  becomeComfortable(tab, take);
  acceptDrops(tab, take);
  document.addEventListener("paste", (event) => {
    if (panel.hidden || !event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files);
  });
  document.addEventListener("keydown", (event) => shortcut(event, tab));
}

/** Put buttons in the place of the form's plain fields. */
function becomeComfortable({ panel, form }, take) {
  const input = panel.querySelector("#image");
  input.multiple = true;
  for (const id of ["#image-label", "#image", "#ask"]) panel.querySelector(id).hidden = true;
  for (const id of ["#drop-hint", "#other-ways"]) panel.querySelector(id).hidden = false;
  panel.querySelector("#choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
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
    if (type) files.push(new File([await item.getType(type)], "pasted picture", { type }));
  }
  if (files.length) take(files);
  else toast("There is no picture on the clipboard. Copy one first.", { failed: true });
}

function acceptDrops({ panel, form }, take) {
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  // The whole tab takes them: a picture dropped beside the box would otherwise replace the page.
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

/** Ask about pictures, the first on top; at most two at a time are under way. */
async function ask(tab, files) {
  if (!files.length) return;
  if (files.length > MOST) {
    toast(`These are ${files.length} pictures; the first ${MOST} are taken. For more, use the API.`);
    files = files.slice(0, MOST);
  }
  tab.results.hidden = false;
  tab.form.classList.add("compact");
  const waiting = files.map((file) => ({ file, item: element("li", { class: "card result", tabindex: "-1" }) }));
  tab.results.prepend(...waiting.map(({ item }) => item));
  for (const { file, item } of waiting) item.append(element("p", { class: "muted" }, `${file.name}: being looked at…`));
  const said = [];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) said.push(await answer(tab, next.file, next.item));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  tab.said.textContent = said.join(". ");
}

/** Ask about one picture and fill its card; gives what was answered, in words. */
async function answer(tab, file, item) {
  const form = new FormData();
  form.append("image", file, "picture");
  try {
    const prediction = await send("/api/predict", { form });
    const result = makeResult(tab, file, prediction, item);
    tab.history.add(file, prediction, tab.classes);
    return `${file.name}: ${result.title}`;
  } catch (error) {
    item.classList.add("failed");
    const dismiss = () => item.remove();
    item.replaceChildren(
      element("div", { class: "answer" },
        element("p", { class: "file-name" }, file.name),
        element("p", { class: "error" }, describe(error)),
        element("div", { class: "row" }, element("button", { type: "button", class: "small", onclick: dismiss }, "Dismiss"))),
    );
    return `${file.name}: ${error.message}`;
  }
}

/** Keys 1 and 2 press the buttons of the card that has the focus, else of the first; not while something is typed. */
function shortcut(event, { panel, results }) {
  if (panel.hidden || event.ctrlKey || event.altKey || event.metaKey || !["1", "2"].includes(event.key)) return;
  if (event.target.closest?.("input, textarea, select, dialog, details[open]")) return;
  const card = event.target.closest?.(".result") ?? results.querySelector(".result:not(.failed)");
  const button = card?.querySelector(`[data-key="${event.key}"]`);
  if (button && !button.disabled) button.click();
}
