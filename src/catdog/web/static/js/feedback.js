// Feedback on a prediction: stores the image for retraining, pending confirmation. Undo removes it.

import { send } from "./api.js";
import { element } from "./dom.js";
import { failure, toast } from "./toasts.js";
import { isClass } from "./verdicts.js";

/** Make the feedback buttons under a prediction. */
export function feedbackRow(tab, file, prediction) {
  if (!tab.mayChange && !tab.keyNeeded) {
    return element("p", { class: "hint" }, "Feedback isn't available from here.");
  }
  const row = element("div", { class: "row feedback", role: "group", "aria-label": "Feedback" });
  showOptions(row, file, feedbackOptions(prediction, tab.classes));
  return row;
}

/** Return the question and its options as [label, class key]; without a predicted class, nothing is right or wrong. */
function feedbackOptions(prediction, classes) {
  const all = Object.entries(classes);
  if (!isClass(prediction)) return { question: "What is it?", offered: all.map(([key, name]) => [name, key]) };
  const others = all.filter(([, name]) => name !== prediction.class);
  const right = all.find(([, name]) => name === prediction.class)[0];
  const wrong = others.length === 1 ? others[0][0] : others;
  return { question: "", offered: [["Correct", right], ["Wrong", wrong]] };
}

function showOptions(row, file, { question, offered }) {
  const buttons = offered.map(([words, wanted], at) =>
    element("button",
      {
        type: "button",
        class: "small",
        "data-key": at < 2 ? at + 1 : null,
        onclick: () => {
          if (Array.isArray(wanted)) {
            showOptions(row, file, { question: "What is it?", offered: wanted.map(([key, name]) => [name, key]) });
            row.querySelector("button").focus();
          } else sendFeedback(row, file, wanted, { question, offered });
        },
      },
      words,
      at < 2 && element("kbd", { "aria-hidden": "true" }, at + 1)));
  row.replaceChildren(...(question ? [element("span", { class: "muted" }, question)] : []), ...buttons);
}

async function sendFeedback(row, file, key, before) {
  const form = new FormData();
  form.append("image", file, "image");
  form.append("class", key);
  for (const button of row.querySelectorAll("button")) button.disabled = true;
  try {
    const kept = await send("/api/feedback", { form });
    const hadFocus = row.contains(document.activeElement) || document.activeElement === document.body;
    const undo = async () => {
      await send("/api/retrain/images/remove", { json: { ids: [kept.id] } });
      showOptions(row, file, before);
      if (hadFocus) row.querySelector("button").focus();
      toast("Feedback removed. The image is no longer stored.");
    };
    const thanks = kept.was_right ? "Thanks! Marked as correct." : "Thanks! Marked as wrong.";
    const chip = element("span", { class: "chip good", tabindex: "-1" }, kept.was_right ? "✓ Marked as correct" : "✓ Marked as wrong");
    row.replaceChildren(chip);
    if (hadFocus) chip.focus();
    toast(`${thanks} The image is used for retraining once its class is confirmed.`, { undo });
  } catch (error) {
    showOptions(row, file, before);
    failure(error);
  }
}
