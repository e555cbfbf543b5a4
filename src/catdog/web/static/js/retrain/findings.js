// The report on the images: counts and possible problems, before any training.

import { describe, get } from "../api.js";
import { counted, element, number, percent, timeElement } from "../dom.js";
import { failure } from "../toasts.js";
import { images, removeRestOfBatch } from "./changes.js";
import { nameOf } from "./classes.js";

const BATCHES_SHOWN = 8;
const MOST_IDS = 200; // the API's largest page

export class Findings {
  #gallery;
  #changed;

  constructor(section, gallery, changed) {
    this.#gallery = gallery;
    this.#changed = changed;
    this.place = element("div", { class: "stack close" }, element("p", { class: "muted" }, "Loading…"));
    section.append(this.place);
  }

  async load() {
    try {
      const report = await get("/api/retrain/report");
      this.#gallery.doubted = (report.review?.doubted ?? []).map(({ id }) => id);
      this.place.replaceChildren(...this.#draw(report));
    } catch (error) {
      this.place.replaceChildren(element("p", { class: "error" }, describe(error)));
    }
  }

  #draw(report) {
    const { counts, review } = report;
    if (!counts.total) return [element("p", { class: "muted" }, "Nothing to check yet: no images were added.")];
    const notes = [...this.#ofReview(review), ...this.#excluded(report)];
    return [
      table(counts),
      element("p", { class: "hint" }, balance(counts)),
      element("p", { class: "hint" }, reviewed(review)),
      element("ul", { class: "retrain-notes" }, notes),
      this.#batches(report),
    ];
  }

  #ofReview(review) {
    if (!review) return [];
    const doubted = review.doubted.map(({ id }) => id);
    const alike = [...new Set(review.alike.flat())];
    const quarantined = review.batches.filter(({ verdict }) => verdict === "quarantined");
    const notes = quarantined.map((batch) => this.#quarantine(batch));
    if (doubted.length) {
      const why = "They stay in the training data unless their batch is quarantined: the model learns most from its mistakes.";
      notes.push(this.#note("warn", "Check", `${counted(doubted.length, "image has a label", "images have labels")} that may be wrong. ${why}`, doubted));
    }
    if (review.near_copies.length) {
      const text = `${counted(review.near_copies.length, "near-duplicate", "near-duplicates")} of test images, excluded from training.`;
      notes.push(this.#note("warn", "Excluded", text, review.near_copies));
    }
    if (alike.length) {
      const text = `${counted(review.alike.length, "pair", "pairs")} of near-duplicates. They are kept.`;
      notes.push(this.#note("", "Near-duplicates", text, alike));
    }
    if (!notes.length) notes.push(this.#note("good", "OK", "No wrong labels and no near-duplicates of test images found."));
    return notes;
  }

  #quarantine({ batch, doubted, unchecked, share }) {
    const text =
      `Batch ${batch} is quarantined: ${number(doubted)} of its ${counted(unchecked, "unconfirmed label")} may be wrong ` +
      `(${percent(share, 0)}). It is excluded from training until its images are confirmed, moved to the right class or removed.`;
    return this.#note("bad", "Quarantined", text, null, [
      this.#button("Show batch", () => this.#gallery.showOnly({ batch }, `Batch ${batch}`)),
      this.#button("Remove batch", () => this.#remove(batch)),
    ]);
  }

  #excluded({ counts }) {
    const notes = [];
    if (counts.kept_out) {
      notes.push(this.#note("", "Excluded", `${images(counts.kept_out)} in use, but excluded from training. The list says why.`));
    }
    return notes;
  }

  #note(kind, word, text, ids = null, buttons = []) {
    const show = () => this.#gallery.showOnly({ ids: ids.slice(0, MOST_IDS).join(",") }, text);
    return element(
      "li",
      {},
      element("span", { class: `chip ${kind}` }, word),
      element("span", {}, text),
      element("span", { class: "row" }, ids && this.#button("Show", show), buttons),
    );
  }

  #batches({ batches, review }) {
    const verdicts = new Map((review?.batches ?? []).map(({ batch, verdict }) => [batch, verdict]));
    const rows = batches.slice(0, BATCHES_SHOWN).map(({ batch, pictures: count, share, since }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, this.#button(batch, () => this.#gallery.showOnly({ batch }, `Batch ${batch}`))),
        element("td", { class: "number" }, `${number(count)} (${percent(share, 0)})`),
        element("td", {}, verdicts.get(batch) ?? "not reviewed"),
        element("td", {}, timeElement(since)),
      ),
    );
    const titles = ["Batch", "Images", "Review", "Since"];
    const more = batches.length > rows.length && element("p", { class: "hint" }, `Showing the largest ${rows.length} of ${number(batches.length)}.`);
    return element(
      "details",
      {},
      element("summary", {}, `Batches (${number(batches.length)})`),
      element(
        "div",
        { class: "table-box", tabindex: 0, role: "group", "aria-label": "Batches" },
        element("table", {}, header(titles), element("tbody", {}, rows)),
      ),
      more,
    );
  }

  #button(text, onclick) {
    return element("button", { type: "button", class: "small quiet", onclick }, text);
  }

  async #remove(batch) {
    try {
      await removeRestOfBatch(batch, this.#changed);
    } catch (error) {
      failure(error);
    }
    this.#changed();
  }
}

function table(counts) {
  const states = { active: "In use", pending: "Awaiting confirmation", removed: "Removed" };
  const folders = Object.keys(counts.active);
  const rows = folders.map((folder) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, nameOf(folder)),
      Object.keys(states).map((state) => element("td", { class: "number" }, number(counts[state][folder] ?? 0))),
    ),
  );
  return element("table", {}, header(["Class", ...Object.values(states)], true), element("tbody", {}, rows));
}

function header(titles, areNumbers = false) {
  const kind = (at) => (areNumbers && at ? "number" : "");
  return element("thead", {}, element("tr", {}, titles.map((title, at) => element("th", { scope: "col", class: kind(at) }, title))));
}

function balance(counts) {
  const sizes = Object.values(counts.active);
  const all = sizes.reduce((sum, size) => sum + size, 0);
  const empty = Object.entries(counts.active).filter(([, size]) => !size);
  const found = [`${images(counts.held_out)} of ${number(all)} held out at random for testing.`];
  if (all && empty.length) {
    const names = empty.map(([folder]) => nameOf(folder)).join(", ");
    found.push(`No images of ${names}. Training still gives each class the same weight.`);
  } else if (all && Math.max(...sizes) >= 2 * Math.min(...sizes)) {
    found.push("The classes are imbalanced; training gives each the same weight.");
  }
  return found.join(" ");
}

function reviewed(review) {
  const how = ["The next retraining does it first. To do it now, run ", element("code", {}, "catdog uploads review"), " on the server."];
  if (!review) return ["Not yet checked for wrong labels and near-duplicates of test images. ", ...how];
  const when = ["Reviewed ", timeElement(review.at), `, ${images(review.pictures)}.`];
  return review.is_current ? when : [...when, " The images or the model have changed since. ", ...how];
}
