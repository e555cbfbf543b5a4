// Sends many files in requests of bounded size, one after another, with progress and retries.

import { upload } from "../api.js";

/** Small enough that a failed request costs little, large enough that a thousand files take forty requests. */
const MOST_FILES = 25;
const MOST_BYTES = 16 * 2 ** 20;

/** Seconds before each retry, by status (0: no response). The server drops duplicates, so retries are safe. */
const SOON = [1, 2, 4];
const PAUSES = { 0: SOON, 502: SOON, 503: SOON, 504: SOON, 429: [5, 15, 30, 30] };

/** Return an id for a batch, to remove all its images together. */
export function nameBatch() {
  const time = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  const random = crypto.getRandomValues(new Uint8Array(3));
  return `${time}-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export function isArchive(name) {
  return /\.zip$/i.test(name);
}

/** Divide files into requests. Names are unique within one, as responses refer to files by name. */
export function intoGroups(files) {
  const groups = [];
  let names = new Set();
  let bytes = 0;
  for (const chosen of files) {
    const group = groups.at(-1);
    const isFull = !group || group.length === MOST_FILES || bytes + chosen.file.size > MOST_BYTES;
    if (isFull || names.has(chosen.name) || isArchive(chosen.name) || isArchive(group.at(-1).name)) {
      groups.push([]);
      names = new Set();
      bytes = 0;
    }
    groups.at(-1).push(chosen);
    names.add(chosen.name);
    bytes += chosen.file.size;
  }
  return groups;
}

/**
 * Send one group of files, with retries if they may help.
 * @param {Array} group from `intoGroups`
 * @param {Object} about `category` and `batch`
 * @param {Object} watch `sent(bytes)` and `waits(seconds, error)` are called
 * @param {AbortSignal} signal stops it
 */
export async function sendGroup(group, about, watch, signal) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      signal.throwIfAborted();
      return await upload("/api/retrain/upload", body(group, about), { onprogress: watch.sent, signal });
    } catch (error) {
      const seconds = PAUSES[error.status]?.[attempt];
      if (signal.aborted || seconds === undefined) throw error;
      watch.waits(seconds, error);
      await pause(seconds, signal);
    }
  }
}

function body(group, { category, batch }) {
  const form = new FormData();
  form.append("category", category);
  form.append("batch", batch);
  for (const { file, name } of group) form.append("files[]", file, name);
  return form;
}

function pause(seconds, signal) {
  return new Promise((done) => {
    setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", done, { once: true });
  });
}
