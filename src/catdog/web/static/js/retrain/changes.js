// What can be done to pictures for retraining, each with a word about it and a way back.

import { get, send } from "../api.js";
import { counted } from "../dom.js";
import { toast } from "../toasts.js";

const MOST_A_PAGE = 200;

/** Count pictures in words. */
export function pictures(count) {
  return counted(count, "picture");
}

/** Take pictures, by their numbers, out of use; `changed` is called when that is undone. */
export async function remove(ids, changed) {
  await change("remove", ids);
  toast(`${pictures(ids.length)} removed.`, { undo: () => change("restore", ids).then(changed) });
}

/** Bring removed pictures back. */
export async function restore(ids, changed) {
  await change("restore", ids);
  toast(`${pictures(ids.length)} restored.`, { undo: () => change("remove", ids).then(changed) });
}

/** Move pictures (rows of the API) to another class. */
export async function relabel(rows, category, changed) {
  const moved = rows.filter((row) => row.category !== category);
  if (!moved.length) return;
  await change("relabel", moved.map(({ id }) => id), { category });
  async function undo() {
    for (const [before, ids] of byCategory(moved)) await change("relabel", ids, { category: before });
    toast(`${pictures(moved.length)} moved back; whoever moves a picture has confirmed its class.`);
    changed();
  }
  toast(`${pictures(moved.length)} moved to ${category}.`, { undo });
}

/** Say that the classes of pictures are right. */
export async function confirm(ids) {
  await change("confirm", ids);
  toast(ids.length === 1 ? "Its class is confirmed." : `The classes of ${pictures(ids.length)} are confirmed.`);
}

/** Remove all pictures of a batch. */
export function removeBatch(batch) {
  return send(`/api/retrain/batches/${encodeURIComponent(batch)}/remove`);
}

/** Remove what is left of a batch; undone, only what this removed comes back. */
export async function removeRestOfBatch(batch, changed) {
  const ids = [...(await idsOf(batch, "active")), ...(await idsOf(batch, "pending"))];
  await removeBatch(batch);
  toast(`${pictures(ids.length)} of the batch removed.`, { undo: () => change("restore", ids).then(changed) });
}

/** Restore what was removed of a batch. */
export async function restoreBatch(batch, changed) {
  const ids = await idsOf(batch, "removed");
  await send(`/api/retrain/batches/${encodeURIComponent(batch)}/restore`);
  toast(`${pictures(ids.length)} of the batch restored.`, { undo: () => change("remove", ids).then(changed) });
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
    const query = new URLSearchParams({ batch, state, page, per_page: MOST_A_PAGE, order: "newest" });
    const { images, total } = await get(`/api/retrain/images?${query}`);
    ids.push(...images.map(({ id }) => id));
    if (!images.length || ids.length >= total) return ids;
  }
}
