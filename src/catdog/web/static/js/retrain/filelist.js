// The list of files in an upload: progress, result and reason of each.

import { bytes, element } from "../dom.js";
import { isArchive } from "./sending.js";

/** Return a name as the server reports it: cut to 200 characters, unprintable characters replaced by "?". */
function reportedName(name) {
  return [...name.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, "?")].slice(0, 200).join("");
}

export class FileList {
  /**
   * @param {Object} chosen `files`, `unreadable` and `hidden` from files.js
   * @param {number} mostBytes largest image
   * @param {Function} stop called to stop the upload
   */
  constructor(chosen, mostBytes, stop) {
    const isTooLarge = ({ file, name }) => file.size > mostBytes && !isArchive(name);
    this.hidden = chosen.hidden;
    this.toSend = chosen.files.filter((one) => !isTooLarge(one));
    this.unsent = [];
    this.refusedHere = chosen.files.filter(isTooLarge).map(({ file, name }) => ({
      name,
      reason: `The file is too large (${bytes(file.size)}). The limit is ${bytes(mostBytes)}.`,
    }));
    this.refusedHere.push(...chosen.unreadable);
    this.rows = new Map(this.toSend.map((one) => [one, row(one)]));
    this.#draw(stop);
    for (const { name, reason } of this.refusedHere) this.#refuse(name, reason);
  }

  #draw(stop) {
    this.heading = element("p", { class: "retrain-heading" }, "Sending…");
    this.stop = element("button", { type: "button", class: "small", onclick: stop }, "Stop");
    this.total = element("progress", { max: 1, value: 0, "aria-label": "Upload progress" });
    this.noted = element("p", { class: "hint", role: "status" });
    this.refused = element("ul", { class: "retrain-refused", "aria-label": "Rejected files" });
    this.list = element(
      "ul",
      { class: "retrain-sent-files", tabindex: 0, "aria-label": "Files in this upload" },
      [...this.rows.values()].map(({ node }) => node),
    );
    this.list.hidden = !this.toSend.length;
    const head = element("div", { class: "row apart" }, this.heading, this.stop);
    this.node = element("div", { class: "stack close" }, head, this.total, this.noted, this.refused, this.list);
  }

  note(text) {
    this.noted.textContent = text;
  }

  /** Files are sent in order, so the bytes sent tell the progress of each. */
  progress(group, loaded) {
    let before = 0;
    for (const one of group) {
      const share = Math.max(0, Math.min((loaded - before) / Math.max(one.file.size, 1), 1));
      this.rows.get(one).set(share, share === 1 ? "checking" : share ? `${Math.floor(100 * share)} %` : "waiting");
      before += one.file.size;
    }
    this.#sum();
  }

  finished(group, result) {
    const names = result.rejected.map(({ name }) => name);
    for (const { name, reason } of result.rejected) this.#refuse(name, reason);
    for (const one of group) {
      const inside = names.filter((name) => name.startsWith(`${reportedName(one.name)}/`)).length;
      const isRefused = names.includes(reportedName(one.name));
      this.rows.get(one).end(isRefused ? "rejected" : inside ? `kept (${inside} rejected)` : "kept");
    }
    this.#sum();
  }

  failed(group, why) {
    this.note(why);
    this.unsent.push(...group);
    for (const one of group) this.rows.get(one).end("not sent");
  }

  /** Show the summary, and offer `retry` if something wasn't sent. */
  end(summary, retry) {
    this.heading.textContent = summary;
    this.total.remove();
    const text = `Retry ${this.unsent.length} unsent`;
    if (this.unsent.length) this.stop.replaceWith(element("button", { type: "button", onclick: retry }, text));
    else this.stop.remove();
  }

  #refuse(name, reason) {
    this.refused.append(element("li", {}, element("b", {}, name), `: ${reason}`));
  }

  #sum() {
    const rows = [...this.rows.values()];
    this.total.value = rows.reduce((sum, { progress }) => sum + progress.value, 0) / Math.max(rows.length, 1);
  }
}

function row({ file, name }) {
  const progress = element("progress", { max: 1, value: 0, "aria-label": name });
  const word = element("span", { class: "retrain-word" }, "waiting");
  const size = element("span", { class: "hint number" }, bytes(file.size));
  const node = element("li", {}, element("span", { class: "retrain-name", title: name }, name), size, progress, word);
  function set(share, text) {
    progress.value = share;
    word.textContent = text;
  }
  function end(text) {
    set(1, text);
    progress.hidden = true;
    node.dataset.ended = text.split(" ")[0];
  }
  return { node, progress, set, end };
}
