// The images for retraining, page by page: filters, selection and changes.

import { describe, get } from "../api.js";
import { element, number } from "../dom.js";
import { failure } from "../toasts.js";
import * as changes from "./changes.js";
import { nameOf } from "./classes.js";
import { drawImage, isOpen } from "./image.js";

const PER_PAGE = matchMedia("(max-width: 40rem)").matches ? 12 : 24;
const ORDERS = { review: "Needs review first", newest: "Newest first" };
const STATES = { "": "All", active: "In use", pending: "Awaiting confirmation", removed: "Removed" };

export class Gallery {
  #page = 1;
  #only = null; // {query, title} set by another part of the tab
  #rows = [];
  #chosen = new Map(); // image id -> its row; kept across pages
  #doubted = new Set();
  #asked = 0;

  /**
   * @param {Element} section where to draw
   * @param {string[]} folders one per class
   * @param {Function} changed called after a change; it calls `load`
   */
  constructor(section, folders, changed) {
    this.#folders = folders;
    this.#changed = changed;
    this.order = select("Order", ORDERS, () => this.#turn(1));
    this.state = select("Show", STATES, () => this.#turn(1));
    this.category = select("Class", { "": "All", ...named(folders) }, () => this.#turn(1));
    this.only = element("div", { class: "row" });
    this.bar = element("div", { class: "row retrain-bar", role: "group", "aria-label": "Selected images", hidden: true });
    this.list = element("ul", { class: "retrain-list" });
    this.empty = element("p", { class: "muted", role: "status" }, "Loading…");
    this.pager = element("div", { class: "row apart" });
    const filters = [this.state, this.category, this.order].map(({ label }) => label);
    section.append(
      element("div", { class: "row retrain-filters" }, filters),
      ...[this.only, this.bar, this.empty, this.list, this.pager],
    );
  }

  #folders;
  #changed;

  /** Mark the images whose label may be wrong. */
  set doubted(ids) {
    this.#doubted = new Set(ids);
    this.#draw();
  }

  /** Show only the images that match a query of the API, under a title. */
  showOnly(query, title) {
    this.#only = { query, title };
    this.state.field.value = this.category.field.value = "";
    this.#turn(1);
    this.list.closest("section").scrollIntoView();
    this.only.querySelector("button")?.focus({ preventScroll: true });
  }

  /** Get the page from the server and draw it. */
  async load() {
    const asked = (this.#asked += 1);
    const given = { state: this.state, category: this.category, order: this.order };
    const query = new URLSearchParams({ page: this.#page, per_page: PER_PAGE, ...this.#only?.query });
    for (const [name, { field }] of Object.entries(given)) if (field.value) query.set(name, field.value);
    try {
      const found = await get(`/api/retrain/images?${query}`);
      if (asked !== this.#asked) return; // superseded by a later request
      const last = Math.max(1, Math.ceil(found.total / PER_PAGE));
      if (this.#page > last) {
        this.#turn(last);
        return;
      }
      this.#rows = found.images;
      this.#drawPager(found.total, last);
      this.#draw();
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#rows = [];
      this.#draw();
      this.pager.replaceChildren();
      this.empty.hidden = false;
      this.empty.replaceChildren(element("span", { class: "error" }, describe(error)));
    }
  }

  #turn(page) {
    this.#page = page;
    return this.load();
  }

  #draw() {
    const look = (row) => ({
      folders: this.#folders,
      isDoubted: this.#doubted.has(row.id),
      isChosen: this.#chosen.has(row.id),
    });
    const focused = this.#focused();
    this.list.replaceChildren(...this.#rows.map((row) => drawImage(row, look(row), this.#doing(row))));
    this.#focus(focused);
    const isFiltered = this.#only || this.state.field.value || this.category.field.value;
    this.empty.hidden = this.#rows.length > 0;
    this.empty.textContent = isFiltered
      ? "No images match."
      : "No images yet. Add some above. Feedback from the Predict tab appears here too.";
    this.#drawOnly();
    this.#drawBar();
  }

  #doing(row) {
    return {
      choose: (isChosen) => {
        if (isChosen) this.#chosen.set(row.id, row);
        else this.#chosen.delete(row.id);
        this.#drawBar();
      },
      confirm: () => this.#do(() => changes.confirm([row.id])),
      move: (folder) => this.#do(() => changes.relabel([row], folder, this.#changed)),
      remove: () => this.#do(() => changes.remove([row.id], this.#changed)),
      restore: () => this.#do(() => changes.restore([row.id], this.#changed)),
      batch: () => this.showOnly({ batch: row.batch }, `Batch ${row.batch}`),
    };
  }

  async #do(action) {
    try {
      await action();
      this.#chosen.clear();
    } catch (error) {
      failure(error);
    }
    this.#changed();
  }

  /** Return the position of the keyboard focus, to restore it after redrawing. */
  #focused() {
    const item = document.activeElement?.closest?.(".retrain-image");
    if (!item || !this.list.contains(item)) return null;
    const { action } = document.activeElement.dataset;
    return { at: [...this.list.children].indexOf(item), id: item.dataset.id, action };
  }

  #focus(before) {
    if (!before) return;
    const items = [...this.list.children];
    const item = items.find(({ dataset }) => dataset.id === before.id) ?? items[Math.min(before.at, items.length - 1)];
    const target = item?.querySelector(`[data-action="${before.action}"]`) ?? item?.querySelector("input");
    (target ?? this.state.field).focus({ preventScroll: Boolean(target) });
  }

  #drawOnly() {
    if (!this.#only) {
      this.only.replaceChildren();
      return;
    }
    const { batch } = this.#only.query;
    const button = (text, onclick) => element("button", { type: "button", class: "small", onclick }, text);
    const remove = () => this.#do(() => changes.removeRestOfBatch(batch, this.#changed));
    const restore = () => this.#do(() => changes.restoreBatch(batch, this.#changed));
    const all = () => {
      this.#only = null;
      this.#turn(1);
      this.state.field.focus();
    };
    this.only.replaceChildren(
      element("strong", { class: "retrain-only" }, this.#only.title),
      button("Show all", all),
      ...(batch ? [button("Remove batch", remove), button("Restore batch", restore)] : []),
    );
  }

  #drawBar() {
    const rows = [...this.#chosen.values()];
    const focused = this.bar.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.bar.hidden = !rows.length;
    if (focused && !rows.length) (this.list.querySelector("input") ?? this.state.field).focus();
    if (!rows.length) return;
    const ids = (some) => some.map(({ id }) => id);
    const kept = rows.filter(({ state }) => state !== "removed");
    const removed = rows.filter(({ state }) => state === "removed");
    const open = rows.filter((row) => isOpen(row, this.#doubted.has(row.id)));
    const button = (text, action) => element("button", { type: "button", class: "small", onclick: action }, text);
    const move = (folder) => () => this.#do(() => changes.relabel(kept, folder, this.#changed));
    const choose = (some) => () => {
      this.#chosen = new Map(some.map((row) => [row.id, row]));
      this.#draw();
    };
    const drawn = [
      element("span", { role: "status" }, `${number(rows.length)} selected`),
      button("All on this page", choose([...rows.filter((row) => !this.#rows.some(({ id }) => id === row.id)), ...this.#rows])),
      button("None", choose([])),
      kept.length && this.#folders.map((folder) => button(`Move to ${nameOf(folder)}`, move(folder))),
      open.length && button("Confirm", () => this.#do(() => changes.confirm(ids(open)))),
      kept.length && button("Remove", () => this.#do(() => changes.remove(ids(kept), this.#changed))),
      removed.length && button("Restore", () => this.#do(() => changes.restore(ids(removed), this.#changed))),
    ];
    this.bar.replaceChildren(...drawn.flat().filter(Boolean));
    const buttons = [...this.bar.querySelectorAll("button")];
    if (focused) (buttons.find(({ textContent }) => textContent === focused) ?? buttons[0]).focus();
  }

  #drawPager(total, last) {
    const button = (text, page) =>
      element("button", { type: "button", class: "small", disabled: page < 1 || page > last, onclick: () => this.#go(page) }, text);
    const first = (this.#page - 1) * PER_PAGE + 1;
    const shown = `${number(first)} to ${number(Math.min(first + PER_PAGE - 1, total))} of ${changes.images(total)}`;
    const turning = last > 1 && [button("Previous", this.#page - 1), button("Next", this.#page + 1)];
    this.pager.replaceChildren(
      element("span", { class: "muted", role: "status" }, total ? shown : ""),
      element("span", { class: "row" }, turning),
    );
  }

  async #go(page) {
    await this.#turn(page);
    this.list.closest("section").scrollIntoView();
    this.list.querySelector("input")?.focus({ preventScroll: true });
  }
}

function named(folders) {
  return Object.fromEntries(folders.map((folder) => [folder, nameOf(folder)]));
}

function select(title, options, onchange) {
  const id = `retrain-filter-${title.toLowerCase()}`;
  const field = element(
    "select",
    { id, onchange },
    Object.entries(options).map(([value, text]) => element("option", { value }, text)),
  );
  return { field, label: element("div", {}, element("label", { for: id }, title), field) };
}
