// The card of one prediction: image, verdict, probabilities, explanation, feedback.

import { bar, element, number, percent } from "./dom.js";
import { feedbackRow } from "./feedback.js";
import { failure, toast } from "./toasts.js";
import { NEITHER, describeVerdict } from "./verdicts.js";
import { explain } from "./why.js";

/** Fill a list item with a prediction; returns its title. */
export function makeResult(tab, file, prediction, item) {
  const { title, why } = describeVerdict(prediction, tab);
  const url = URL.createObjectURL(file);
  const stage = element("div", { class: "stage" }, preview(url, file.name));
  const shot = element("div", { class: "shot" }, stage);
  const similar = element("div", { class: "similar", hidden: true });
  const remove = () => {
    item.remove();
    URL.revokeObjectURL(url);
  };
  const reason = element("button", { type: "button", class: "small", "aria-expanded": "false" }, "Why?");
  reason.addEventListener("click", () => explain({ file, stage, shot, similar, button: reason }).catch(failure));
  item.replaceChildren(
    shot,
    element("div", { class: "prediction" },
      element("div", { class: "head" },
        element("p", { class: "file-name" }, file.name),
        element("button", { type: "button", class: "quiet small close-result", "aria-label": `Dismiss ${file.name}`, onclick: remove }, "✕")),
      element("h3", { class: "verdict" }, title),
      element("p", {}, why),
      bars(prediction, tab.classes),
      element("p", { class: "hint" },
        `Model v${prediction.model_version} · ${number(prediction.latency_ms, 1)} ms · novelty ${number(prediction.novelty, 2)}`),
      feedbackRow(tab, file, prediction),
      element("div", { class: "row" }, reason,
        element("button", { type: "button", class: "small", onclick: () => copyCurl(file.name) }, "Copy as curl")),
      similar),
  );
  return { title };
}

/** Draw the probabilities, highest first; grey if the verdict isn't a class. */
function bars({ probabilities, verdict }, classes) {
  const keys = Object.keys(classes);
  const colour = (key) => (verdict === NEITHER ? "verdict-neither" : `class-${Math.max(0, keys.indexOf(key)) % 4}`);
  const rows = Object.entries(probabilities).sort(([, one], [, other]) => other - one);
  return element("ul", { class: "bars" },
    rows.map(([key, share]) => element("li", {},
      element("span", {}, classes[key] ?? key),
      bar(share, colour(key)),
      element("span", { class: "number" }, percent(share)))));
}

function preview(url, name) {
  const image = element("img", { src: url, alt: `Your image ${name}` });
  image.addEventListener("error", () => image.replaceWith(element("p", { class: "no-preview" }, "No preview")));
  return image;
}

async function copyCurl(name) {
  const quoted = `'${name.replaceAll("'", "'\\''")}'`;
  const command = `curl -F image=@${quoted} ${location.origin}/api/predict`;
  try {
    await navigator.clipboard.writeText(command);
    toast("Copied. Run it in the image's folder.");
  } catch {
    toast(`The browser blocked copying. The command is: ${command}`, { failed: true });
  }
}
