// The result of a retraining: champion and challenger compared, and the decision.

import { describe, get, send } from "../api.js";
import { counted, element, number, percent } from "../dom.js";
import { failure, toast } from "../toasts.js";

const MAX_LISTED = 50; // excluded images listed in a result

const FIGURES = [
  // title, how to read and format it, whether higher is better
  ["Accuracy", (m) => m.accuracy, (v) => percent(v, 2), true],
  ["Precision", (m) => m.precision, (v) => percent(v, 2), true],
  ["Recall", (m) => m.recall, (v) => percent(v, 2), true],
  ["F1", (m) => m.f1_score, (v) => percent(v, 2), true],
  ["Cross-entropy", (m) => m.loss, (v) => number(v, 4), false],
  ["Calibration error", (m) => m.ece, (v) => number(v, 4), false],
];

/** Draw the card; `mayChange` shows its buttons. */
export async function drawOutcome(place, result, mayChange) {
  const models = await get("/api/models").catch((error) => ({ error }));
  const again = () => drawOutcome(place, result, mayChange);
  if (models.champion) showInUse(models.champion);
  place.replaceChildren(
    element(
      "article",
      { class: "stack close retrain-outcome", "aria-label": "Champion and challenger" },
      element("h3", {}, headline(result)),
      element("p", {}, sentence(result.reason)),
      models.error ? element("p", { class: "error" }, describe(models.error)) : decision(result, models.champion, mayChange, again),
      result.metrics && comparison(result, result.metrics, "test images that neither version was trained on"),
      result.held_out && comparison(result, result.held_out, "uploads held out for testing"),
      trainingSummary(result),
      result.changed && changed(result.changed),
    ),
  );
}

function headline({ promoted, version, parent }) {
  return promoted
    ? `Version ${version} is now in use; it replaced version ${parent}`
    : `Version ${parent} stays in use; version ${version} was not deployed`;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

function comparison({ version, parent }, { champion, challenger }, what) {
  const title = `Measured on ${number(champion.n)} ${what}; ✓ marks the better value.`;
  const rows = FIGURES.filter(([, read]) => read(champion) !== undefined).map(([name, read, write, isHigherBetter]) => {
    const [before, after] = [read(champion), read(challenger)];
    const better = before === after || write(before) === write(after) ? 0 : after > before === isHigherBetter ? 1 : -1;
    const isAccuracy = name === "Accuracy";
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name, isAccuracy && element("small", { class: "hint" }, "95 % interval")),
      cell(write(before), better < 0, isAccuracy && champion.accuracy_ci),
      cell(write(after), better > 0, isAccuracy && challenger.accuracy_ci),
    );
  });
  const column = (title, number) => element("th", { scope: "col", class: "number" }, title, element("small", {}, `version ${number}`));
  const head = [element("td", {}), column("Champion", parent), column("Challenger", version)];
  return element(
    "div",
    { class: "table-box", tabindex: 0, role: "group", "aria-label": title },
    element("table", {}, element("caption", {}, title), element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows)),
  );
}

function cell(text, isBetter, interval) {
  const about = interval && element("small", { class: "hint" }, `${(100 * interval[0]).toFixed(1)} to ${percent(interval[1]).replace(" ", "\u00a0")}`);
  const mark = isBetter && [element("span", { class: "retrain-better", "aria-hidden": "true" }, "✓ "), visuallyHidden("better: ")];
  return element("td", { class: "number" }, mark, text, about);
}

function visuallyHidden(text) {
  return element("span", { class: "visually-hidden" }, text);
}

function trainingSummary({ pictures, fit }) {
  if (!pictures || !fit) return null;
  const count = pictures.left_out.length;
  const left = count ? ` ${count < MAX_LISTED ? number(count) : `${number(count)} or more`} excluded.` : "";
  return element(
    "p",
    { class: "hint" },
    `Trained on ${number(fit.new)} new and ${number(fit.old)} known examples for ${counted(fit.epochs, "epoch")}; ` +
      `epoch ${number(fit.best_epoch)} was the best. ${counted(pictures.held_out, "upload")} held out.${left}`,
  );
}

function changed({ now_right: right, now_wrong: wrong }) {
  if (!right.length && !wrong.length) return element("p", { class: "hint" }, "Both versions predict the same class for every test image.");
  const list = (title, names) => [
    element("h4", {}, `${title}: ${number(names.length)}`),
    element("ul", { class: "retrain-changed" }, names.map((name) => element("li", {}, name))),
  ];
  return element(
    "details",
    {},
    element("summary", {}, `Changed predictions on test images: ${number(right.length)} fixed, ${number(wrong.length)} broken`),
    list("Fixed", right),
    list("Broken", wrong),
  );
}

/** Show which version is in use now, and offer the other one. */
function decision(result, champion, mayChange, again) {
  const { version, parent } = result;
  const key = `catdog.kept.${version}`;
  const promote = (number, before) => async () => {
    try {
      await send(`/api/models/${number}/promote`);
      const undo = () => send(`/api/models/${before}/promote`).then(again);
      toast(`Version ${number} is now in use.`, { undo });
    } catch (error) {
      failure(error);
    }
    await again();
  };
  const button = (text, onclick, kind = "") => element("button", { type: "button", class: kind, onclick }, text);
  const now = element("span", { class: "chip good" }, `Version ${champion} in use`);
  if (champion === version) return element("div", { class: "row" }, now, mayChange && button(`Go back to version ${parent}`, promote(parent, version)));
  if (champion !== parent || !mayChange) return element("p", {}, now);
  if (localStorage.getItem(key)) {
    return element("div", { class: "row" }, now, `You kept version ${parent}.`, button("Deploy anyway", promote(version, parent), "quiet"));
  }
  const keep = () => {
    localStorage.setItem(key, "yes");
    again();
    const undo = () => {
      localStorage.removeItem(key);
      again();
    };
    toast(`Version ${parent} stays in use. Version ${version} remains in Model status.`, { undo });
  };
  return element("div", { class: "row" }, now, button("Deploy anyway", promote(version, parent)), button(`Keep version ${parent}`, keep, "primary"));
}

/** Show the version in use in the page's header. */
function showInUse(version) {
  const chip = document.getElementById("version-in-use");
  if (chip) chip.textContent = `Model v${version} in use`;
}
