// Chosen or dropped files, including folders, as {file, name}; the name includes the folders.

/** Files that operating systems leave in folders. */
const LEFT_BY_SYSTEMS = new Set(["thumbs.db", "desktop.ini"]);

/** Return the files chosen in an <input type="file">. */
export function fromInput(input) {
  return sort([...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
}

/** Return the dropped files and the contents of dropped folders. */
export async function fromTransfer(transfer) {
  // The items disappear when the event ends, so read them all before the first await.
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
    found.push({ file: null, name, reason: `The browser couldn't read it (${error.name}).` });
  }
}

async function entriesOf(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    // A reader returns entries in batches; an empty batch is the end.
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return all;
    all.push(...some);
  }
}

/** Return the files to send, the unreadable ones, and the number of hidden files skipped. */
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
