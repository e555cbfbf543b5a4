// The card at the end: champion against challenger, who won and why, and what a person may still decide.

import { describe, get, send } from "../api.js";
import { counted, element, number, percent } from "../dom.js";
import { failure, toast } from "../toasts.js";

const MOST_TOLD = 50; // reasons for leaving a picture out that a result gives

const FIGURES = [
  // title, how to read it from the metrics, how to write it, whether more is better
  ["Accuracy", (m) => m.accuracy, (v) => percent(v, 2), true],
  ["Precision", (m) => m.precision, (v) => percent(v, 2), true],
  ["Recall", (m) => m.recall, (v) => percent(v, 2), true],
  ["F1", (m) => m.f1_score, (v) => percent(v, 2), true],
  ["Cross-entropy", (m) => m.loss, (v) => number(v, 4), false],
  ["Calibration error", (m) => m.ece, (v) => number(v, 4), false],
];

/** Draw the card into a place; `mayChange` offers its buttons. */
export async function drawOutcome(place, result, mayChange) {
  const models = await get("/api/models").catch((error) => ({ error }));
  const again = () => drawOutcome(place, result, mayChange);
  if (models.champion) tell(models.champion);
  place.replaceChildren(
    element(
      "article",
      { class: "stack close retrain-outcome", "aria-label": "Champion against challenger" },
      element("h3", {}, headline(result)),
      element("p", {}, sentence(result.reason)),
      models.error ? element("p", { class: "error" }, describe(models.error)) : decision(result, models.champion, mayChange, again),
      result.metrics && comparison(result, result.metrics, "test pictures that neither was trained on"),
      result.held_out && comparison(result, result.held_out, "uploads held out for testing"),
      learned(result),
      result.changed && changed(result.changed),
    ),
  );
}

function headline({ promoted, version, parent }) {
  return promoted
    ? `Version ${version} passed the gate and took the place of version ${parent}`
    : `Version ${parent} stays; version ${version} is kept aside`;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

function comparison({ version, parent }, { champion, challenger }, what) {
  const title = `On ${number(champion.n)} ${what}; ✓ marks the better value.`;
  const rows = FIGURES.filter(([, read]) => read(champion) !== undefined).map(([name, read, write, isMoreBetter]) => {
    const [before, after] = [read(champion), read(challenger)];
    const better = before === after || write(before) === write(after) ? 0 : after > before === isMoreBetter ? 1 : -1;
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
  const mark = isBetter && [element("span", { class: "retrain-better", "aria-hidden": "true" }, "✓ "), unseen("better: ")];
  return element("td", { class: "number" }, mark, text, about);
}

function unseen(text) {
  return element("span", { class: "visually-hidden" }, text);
}

function learned({ pictures, fit }) {
  if (!pictures || !fit) return null;
  const count = pictures.left_out.length;
  const left = count ? ` ${count < MOST_TOLD ? number(count) : `${number(count)} or more`} left out.` : "";
  return element(
    "p",
    { class: "hint" },
    `Learned from ${number(fit.new)} new and ${number(fit.old)} known examples in ${counted(fit.epochs, "epoch")}, of which ` +
      `number ${number(fit.best_epoch)} was kept. ${counted(pictures.held_out, "upload")} held out.${left}`,
  );
}

function changed({ now_right: right, now_wrong: wrong }) {
  if (!right.length && !wrong.length) return element("p", { class: "hint" }, "Both answer every test picture alike, right or wrong.");
  const list = (title, names) => [
    element("h4", {}, `${title}: ${number(names.length)}`),
    element("ul", { class: "retrain-changed" }, names.map((name) => element("li", {}, name))),
  ];
  return element(
    "details",
    {},
    element("summary", {}, `Test pictures that changed: ${number(right.length)} better, ${number(wrong.length)} worse`),
    list("Right now, wrong before", right),
    list("Wrong now, right before", wrong),
  );
}

/** Say which version answers now, which may have changed since, and offer the other one. */
function decision(result, champion, mayChange, again) {
  const { version, parent } = result;
  const key = `catdog.kept.${version}`;
  const promote = (number, before) => async () => {
    try {
      await send(`/api/models/${number}/promote`);
      const undo = () => send(`/api/models/${before}/promote`).then(again);
      toast(`Version ${number} answers now.`, { undo });
    } catch (error) {
      failure(error);
    }
    await again();
  };
  const button = (text, onclick, kind = "") => element("button", { type: "button", class: kind, onclick }, text);
  const now = element("span", { class: "chip good" }, `Version ${champion} answers`);
  if (champion === version) return element("div", { class: "row" }, now, mayChange && button(`Go back to version ${parent}`, promote(parent, version)));
  if (champion !== parent || !mayChange) return element("p", {}, now);
  if (localStorage.getItem(key)) {
    return element("div", { class: "row" }, now, `You kept version ${parent}.`, button("Promote anyway", promote(version, parent), "quiet"));
  }
  const keep = () => {
    localStorage.setItem(key, "yes");
    again();
    const undo = () => {
      localStorage.removeItem(key);
      again();
    };
    toast(`Version ${parent} goes on; version ${version} stays in Model status.`, { undo });
  };
  return element("div", { class: "row" }, now, button("Promote anyway", promote(version, parent)), button(`Keep version ${parent}`, keep, "primary"));
}

/** The head of the page names the version that answers. */
function tell(version) {
  const chip = document.getElementById("answering");
  if (chip) chip.textContent = `Version ${version} answers`;
}
