// Files that a person chose or dropped, folders and all, as {file, name}; the name has the folders that it was in.

/** What systems leave in folders and nobody means to send. */
const LEFT_BY_SYSTEMS = new Set(["thumbs.db", "desktop.ini"]);

/** Read what was chosen in an <input type="file">. */
export function fromInput(input) {
  return sort([...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
}

/** Read what was dropped: files, and folders with all that is in them. */
export async function fromTransfer(transfer) {
  // The items are gone when the event has ended: all are asked for before anything is awaited.
  const dropped = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile())
    .filter(Boolean);
  const found = [];
  for (const entry of dropped) await collect(entry, found);
  return sort(found);
}

async function collect(entry, found) {
  if (entry instanceof File) {
    found.push({ file: entry, name: entry.name });
    return;
  }
  const name = entry.fullPath.replace(/^\//, "");
  try {
    if (entry.isFile) found.push({ file: await new Promise((done, failed) => entry.file(done, failed)), name });
    else for (const inner of await entriesOf(entry)) await collect(inner, found);
  } catch (error) {
    found.push({ file: null, name, reason: `The browser could not read it (${error.name}).` });
  }
}

async function entriesOf(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    // A reader gives some at a time, and none at the end.
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return all;
    all.push(...some);
  }
}

/** Give the files to send, those that cannot be read, and how many hidden ones were passed over. */
function sort(found) {
  const shown = found.filter(({ name }) => !isHidden(name));
  shown.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  return {
    files: shown.filter(({ file }) => file),
    unreadable: shown.filter(({ file }) => !file),
    hidden: found.length - shown.length,
  };
}

function isHidden(path) {
  const parts = path.split("/");
  return parts.some((part) => part.startsWith(".")) || LEFT_BY_SYSTEMS.has(parts.at(-1).toLowerCase());
}
