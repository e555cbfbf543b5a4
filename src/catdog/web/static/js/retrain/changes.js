// Changes to the images for retraining, each with a message and an undo.

import { get, send } from "../api.js";
import { counted } from "../dom.js";
import { toast } from "../toasts.js";
import { nameOf } from "./classes.js";

const MAX_PER_PAGE = 200;

/** Return "1 image" or "5 images". */
export function images(count) {
  return counted(count, "image");
}

/** Remove images by id; `changed` is called after an undo. */
export async function remove(ids, changed) {
  await change("remove", ids);
  toast(`${images(ids.length)} removed.`, { undo: () => change("restore", ids).then(changed) });
}

/** Restore removed images. */
export async function restore(ids, changed) {
  await change("restore", ids);
  toast(`${images(ids.length)} restored.`, { undo: () => change("remove", ids).then(changed) });
}

/** Move images (rows of the API) to another class. */
export async function relabel(rows, category, changed) {
  const moved = rows.filter((row) => row.category !== category);
  if (!moved.length) return;
  await change("relabel", moved.map(({ id }) => id), { category });
  async function undo() {
    for (const [before, ids] of byCategory(moved)) await change("relabel", ids, { category: before });
    toast(`${images(moved.length)} moved back. Moving an image also confirms its class.`);
    changed();
  }
  toast(`${images(moved.length)} moved to ${nameOf(category)}.`, { undo });
}

/** Confirm the classes of images. */
export async function confirm(ids) {
  await change("confirm", ids);
  toast(ids.length === 1 ? "Class confirmed." : `Classes of ${images(ids.length)} confirmed.`);
}

/** Remove all images of a batch. */
export function removeBatch(batch) {
  return send(`/api/retrain/batches/${encodeURIComponent(batch)}/remove`);
}

/** Remove the rest of a batch; undo restores only what this removed. */
export async function removeRestOfBatch(batch, changed) {
  const ids = [...(await idsOf(batch, "active")), ...(await idsOf(batch, "pending"))];
  await removeBatch(batch);
  toast(`${images(ids.length)} in the batch removed.`, { undo: () => change("restore", ids).then(changed) });
}

/** Restore the removed images of a batch. */
export async function restoreBatch(batch, changed) {
  const ids = await idsOf(batch, "removed");
  await send(`/api/retrain/batches/${encodeURIComponent(batch)}/restore`);
  toast(`${images(ids.length)} in the batch restored.`, { undo: () => change("remove", ids).then(changed) });
}

function change(action, ids, more = {}) {
  return send(`/api/retrain/images/${action}`, { json: { ids, ...more } });
}

function byCategory(rows) {
  const found = new Map();
  for (const { id, category } of rows) found.set(category, [...(found.get(category) ?? []), id]);
  return found;
}

async function idsOf(batch, state) {
  const ids = [];
  for (let page = 1; ; page += 1) {
    const query = new URLSearchParams({ batch, state, page, per_page: MAX_PER_PAGE, order: "newest" });
    const found = await get(`/api/retrain/images?${query}`);
    ids.push(...found.images.map(({ id }) => id));
    if (!found.images.length || ids.length >= found.total) return ids;
  }
}
