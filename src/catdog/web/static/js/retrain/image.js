// One image for retraining: its class, doubts about it, and its buttons.

import { element, percent, time } from "../dom.js";
import { nameOf } from "./classes.js";

/** With more classes than this, images are moved with the bar above the list. */
const MOST_BUTTONS = 3;

/**
 * Draw an image.
 * @param {Object} row of the API
 * @param {Object} look `folders` of classes, and whether it `isDoubted` and `isChosen`
 * @param {Object} on `choose(isChosen)`, `confirm()`, `move(folder)`, `remove()`, `restore()`, `batch()`
 */
export function drawImage(row, { folders, isDoubted, isChosen }, on) {
  const name = row.name || `Image ${row.id}`;
  const box = element("input", { type: "checkbox", checked: isChosen, onchange: () => on.choose(box.checked) });
  const image = element("img", { src: row.file, alt: `${nameOf(row.category)}: ${name}`, loading: "lazy", width: 160, height: 120 });
  image.addEventListener("error", () => image.replaceWith(element("span", { class: "retrain-broken" }, "No preview")));
  return element(
    "li",
    { class: "retrain-image", "data-id": row.id, "data-state": row.state },
    element("label", { class: "retrain-choose" }, box, element("span", { class: "visually-hidden" }, `Choose ${name}`), image),
    element("p", { class: "retrain-name", title: name }, name.split("/").at(-1)),
    element("p", { class: "retrain-chips" }, chips(row, isDoubted)),
    element("p", { class: "hint" }, doubts(row, isDoubted).join(" ")),
    element("div", { class: "retrain-actions" }, buttons(row, { folders, isDoubted, name }, on)),
    small(`Show the batch of ${name}`, `Batch of ${time(row.created_at)}`, on.batch),
  );
}

/** Return whether an image needs its class confirmed by a person. */
export function isOpen(row, isDoubted) {
  return row.state === "pending" || (row.state === "active" && !row.checked && (isDoubted || row.problem !== null));
}

function chips(row, isDoubted) {
  const found = [["chip retrain-class", nameOf(row.category)]];
  if (row.state === "pending") found.push(["chip warn", "awaiting confirmation"]);
  if (row.state === "removed") found.push(["chip bad", "removed"]);
  if (row.held_out) found.push(["chip", "test only"]);
  if (row.problem) found.push(["chip warn", "excluded"]);
  else if (isDoubted && !row.checked) found.push(["chip warn", "label may be wrong"]);
  if (row.checked) found.push(["chip good", "confirmed"]);
  return found.map(([kind, text]) => element("span", { class: kind }, text));
}

function doubts(row, isDoubted) {
  const found = [];
  if (row.problem) found.push(row.problem);
  if (row.predicted && row.predicted !== row.category) {
    found.push(`Model v${row.model_version} predicts ${nameOf(row.predicted)} (${percent(row.confidence, 0).replaceAll(" ", "\u00a0")}).`);
  } else if (isDoubted) found.push("It looks unlike the others in its class.");
  if (row.verdict === "neither") found.push("It is unlike the training images.");
  return found;
}

function buttons(row, { folders, isDoubted, name }, on) {
  if (row.state === "removed") return small(`Restore ${name}`, "Restore", on.restore, "restore");
  const others = folders.filter((folder) => folder !== row.category);
  return [
    isOpen(row, isDoubted) && small(`Confirm ${nameOf(row.category)}: ${name}`, "Confirm", on.confirm, "confirm"),
    others.length < MOST_BUTTONS &&
      others.map((folder) => small(`Move to ${nameOf(folder)}: ${name}`, `Move to ${nameOf(folder)}`, () => on.move(folder), "move")),
    small(`Remove ${name}`, "Remove", on.remove, "remove"),
  ];
}

function small(label, text, onclick, action = "batch") {
  const kind = action === "batch" ? "small quiet" : "small";
  return element("button", { type: "button", class: kind, "aria-label": label, "data-action": action, onclick }, text);
}
