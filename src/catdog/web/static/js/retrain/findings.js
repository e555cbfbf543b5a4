// The report on the pictures: how many there are, and what is doubtful about them, before anything is trained.

import { describe, get } from "../api.js";
import { counted, element, number, percent, timeElement } from "../dom.js";
import { failure } from "../toasts.js";
import { pictures, removeRestOfBatch } from "./changes.js";

/** Where one sender has more than this share of all, it is said. */
const LARGE_SHARE = 0.5;
const BATCHES_SHOWN = 8;
const MOST_IDS = 200; // that one page of the API gives

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
    if (!counts.total) return [element("p", { class: "muted" }, "There is nothing to check yet: no picture has come in.")];
    const notes = [...this.#ofReview(review), ...this.#ofShares(report)];
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
      const why = "Outside a quarantine they stay in: what the model gets wrong is what it can learn most from.";
      notes.push(this.#note("warn", "Look", `The label of ${pictures(doubted.length)} looks wrong. ${why}`, doubted));
    }
    if (review.near_copies.length) {
      const text = `${pictures(review.near_copies.length)} nearly the same as a test picture; kept out of training.`;
      notes.push(this.#note("warn", "Kept out", text, review.near_copies));
    }
    if (alike.length) {
      const text = `${counted(review.alike.length, "pair of pictures is", "pairs of pictures are")} nearly the same. They are kept.`;
      notes.push(this.#note("", "Alike", text, alike));
    }
    if (!notes.length) notes.push(this.#note("good", "Fine", "The review found no doubtful label and no copy of a test picture."));
    return notes;
  }

  #quarantine({ batch, doubted, unchecked, share }) {
    const text =
      `Batch ${batch} is in quarantine: of its ${counted(unchecked, "label")} that nobody has confirmed, ` +
      `${counted(doubted, "looks", "look")} wrong (${percent(share, 0)}). The next training does without it until its pictures are ` +
      "confirmed, moved to the right class, or removed.";
    return this.#note("bad", "Quarantined", text, null, [
      this.#button("Show the batch", () => this.#gallery.showOnly({ batch }, `Batch ${batch}`)),
      this.#button("Remove it", () => this.#remove(batch)),
    ]);
  }

  #ofShares({ uploaders, counts }) {
    const [largest] = uploaders;
    const notes = [];
    if (counts.kept_out) {
      notes.push(this.#note("", "Kept out", `${pictures(counts.kept_out)} in use but kept out of training, as the list says.`));
    }
    if (largest && largest.share > LARGE_SHARE) {
      const who = uploaders.length === 1 ? "All pictures come" : `${percent(largest.share, 0)} of the pictures come`;
      const why = uploaders.length === 1 ? "" : " One sender's mistakes would weigh much.";
      const kind = uploaders.length === 1 ? "" : "warn";
      notes.push(this.#note(kind, "One sender", `${who} from ${largest.uploader}.${why}`));
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
      element("span", { class: "row" }, ids && this.#button("Show them", show), buttons),
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
    const titles = ["Batch", "Pictures", "Review", "Since"];
    const more = batches.length > rows.length && element("p", { class: "hint" }, `The largest ${rows.length} of ${number(batches.length)}.`);
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
  const states = { active: "In use", pending: "Waiting", removed: "Removed" };
  const folders = Object.keys(counts.active);
  const rows = folders.map((folder) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, folder),
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
  const told = [`${pictures(counts.held_out)} of ${number(all)} only for testing, chosen by chance, never trained on.`];
  if (all && empty.length) {
    const names = empty.map(([folder]) => folder).join(", ");
    told.push(`None of ${names}: the others are learned from, and each class still weighs the same.`);
  } else if (all && Math.max(...sizes) >= 2 * Math.min(...sizes)) {
    told.push("The classes are uneven; each weighs the same in the training.");
  }
  return told.join(" ");
}

function reviewed(review) {
  const how = ["The next retraining reviews them first; ", element("code", {}, "catdog uploads review"), " on the server does so now."];
  if (!review) return ["Wrong labels and copies of test pictures were not looked for yet. ", ...how];
  const when = ["Reviewed ", timeElement(review.at), `, ${pictures(review.pictures)}.`];
  return review.is_current ? when : [...when, " Pictures or version have changed since. ", ...how];
}
