// The list of files of an upload: how far each is, what became of it, and why.

import { bytes, element } from "../dom.js";
import { isArchive } from "./sending.js";

/** The server tells names cut to 200 characters, with a question mark for what it does not print: a space other than " "
 * is among that. */
function told(name) {
  return [...name.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, "?")].slice(0, 200).join("");
}

export class FileList {
  /**
   * @param {Object} chosen `files`, `unreadable` and `hidden`, as files.js gives them
   * @param {number} mostBytes of one picture
   * @param {Function} stop called when a person stops the upload
   */
  constructor(chosen, mostBytes, stop) {
    const isTooLarge = ({ file, name }) => file.size > mostBytes && !isArchive(name);
    this.hidden = chosen.hidden;
    this.toSend = chosen.files.filter((one) => !isTooLarge(one));
    this.unsent = [];
    this.refusedHere = chosen.files.filter(isTooLarge).map(({ file, name }) => ({
      name,
      reason: `It is too large; at most ${bytes(mostBytes)} are allowed. Received: ${bytes(file.size)}.`,
    }));
    this.refusedHere.push(...chosen.unreadable);
    this.rows = new Map(this.toSend.map((one) => [one, row(one)]));
    this.#draw(stop);
    for (const { name, reason } of this.refusedHere) this.#refuse(name, reason);
  }

  #draw(stop) {
    this.heading = element("p", { class: "retrain-heading" }, "Sending…");
    this.stop = element("button", { type: "button", class: "small", onclick: stop }, "Stop");
    this.total = element("progress", { max: 1, value: 0, "aria-label": "Of this upload" });
    this.noted = element("p", { class: "hint", role: "status" });
    this.refused = element("ul", { class: "retrain-refused", "aria-label": "Refused files" });
    this.list = element(
      "ul",
      { class: "retrain-sent-files", tabindex: 0, "aria-label": "Files of this upload" },
      [...this.rows.values()].map(({ node }) => node),
    );
    this.list.hidden = !this.toSend.length;
    const head = element("div", { class: "row apart" }, this.heading, this.stop);
    this.node = element("div", { class: "stack close" }, head, this.total, this.noted, this.refused, this.list);
  }

  note(text) {
    this.noted.textContent = text;
  }

  /** Files of a request are sent in their order: from how much of it is sent follows how far each is. */
  progress(group, loaded) {
    let before = 0;
    for (const one of group) {
      const share = Math.max(0, Math.min((loaded - before) / Math.max(one.file.size, 1), 1));
      this.rows.get(one).set(share, share === 1 ? "being checked" : share ? `${Math.floor(100 * share)} %` : "waiting");
      before += one.file.size;
    }
    this.#sum();
  }

  answered(group, answer) {
    const names = answer.rejected.map(({ name }) => name);
    for (const { name, reason } of answer.rejected) this.#refuse(name, reason);
    for (const one of group) {
      const inside = names.filter((name) => name.startsWith(`${told(one.name)}/`)).length;
      const isRefused = names.includes(told(one.name));
      this.rows.get(one).end(isRefused ? "refused" : inside ? `kept but ${inside}` : "kept");
    }
    this.#sum();
  }

  failed(group, why) {
    this.note(why);
    this.unsent.push(...group);
    for (const one of group) this.rows.get(one).end("not sent");
  }

  /** Say how it ended; `retry` is offered where something was not sent. */
  end(summary, retry) {
    this.heading.textContent = summary;
    this.total.remove();
    const text = `Try again with ${this.unsent.length} not sent`;
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
