// Right or wrong: the picture goes to the pictures for retraining, where a person confirms it. Undo takes it back.

import { send } from "./api.js";
import { element } from "./dom.js";
import { failure, toast } from "./toasts.js";
import { isAnswered } from "./verdicts.js";

/** Make the row of buttons under an answer. */
export function feedbackRow(tab, file, prediction) {
  if (!tab.mayChange && !tab.keyNeeded) {
    return element("p", { class: "hint" }, "The server takes no feedback from here, as it has no key.");
  }
  const row = element("div", { class: "row feedback", role: "group", "aria-label": "Feedback" });
  showChoices(row, file, choices(prediction, tab.classes));
  return row;
}

/** List what can be said: [words, key of the class]. Where no class was answered, there is nothing to be right. */
function choices(prediction, classes) {
  const all = Object.entries(classes);
  if (!isAnswered(prediction)) return { question: "What is it?", offered: all.map(([key, name]) => [name, key]) };
  const others = all.filter(([, name]) => name !== prediction.class);
  const right = all.find(([, name]) => name === prediction.class)[0];
  const wrong = others.length === 1 ? others[0][0] : others;
  return { question: "", offered: [["Right", right], ["Wrong", wrong]] };
}

function showChoices(row, file, { question, offered }) {
  const buttons = offered.map(([words, wanted], at) =>
    element("button",
      {
        type: "button",
        class: "small",
        "data-key": at < 2 ? at + 1 : null,
        onclick: () => {
          if (Array.isArray(wanted)) {
            showChoices(row, file, { question: "What is it?", offered: wanted.map(([key, name]) => [name, key]) });
            row.querySelector("button").focus();
          } else give(row, file, wanted, { question, offered });
        },
      },
      words,
      at < 2 && element("kbd", { "aria-hidden": "true" }, at + 1)));
  row.replaceChildren(...(question ? [element("span", { class: "muted" }, question)] : []), ...buttons);
}

async function give(row, file, key, before) {
  const form = new FormData();
  form.append("image", file, "picture");
  form.append("class", key);
  for (const button of row.querySelectorAll("button")) button.disabled = true;
  try {
    const kept = await send("/api/feedback", { form });
    const hadFocus = row.contains(document.activeElement) || document.activeElement === document.body;
    const undo = async () => {
      await send("/api/retrain/images/remove", { json: { ids: [kept.id] } });
      showChoices(row, file, before);
      if (hadFocus) row.querySelector("button").focus();
      toast("Taken back. The picture is no longer kept for retraining.");
    };
    const said = kept.was_right ? "Thank you: marked as right." : "Thank you: marked as wrong.";
    const chip = element("span", { class: "chip good", tabindex: "-1" }, kept.was_right ? "✓ Marked as right" : "✓ Marked as wrong");
    row.replaceChildren(chip);
    if (hadFocus) chip.focus();
    toast(`${said} It is kept until somebody confirms its class.`, { undo });
  } catch (error) {
    showChoices(row, file, before);
    failure(error);
  }
}
