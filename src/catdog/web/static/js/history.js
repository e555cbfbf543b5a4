// Recent predictions, as thumbnails in this browser's storage. The server stores none of them.

import { element, percent, time } from "./dom.js";
import { toast } from "./toasts.js";

const KEY = "catdog.history";
const MOST = 24; // about 4 kB each
const SIDE = 112;

/** Show the strip; returns an object that adds to it. */
export function startHistory(panel) {
  const section = panel.querySelector("#history");
  const draw = () => show(section, panel.querySelector("#strip"));
  panel.querySelector("#clear-history").addEventListener("click", () => {
    const before = read();
    write([]);
    draw();
    toast("History cleared.", { undo: () => { write([...read(), ...before]); draw(); } });
  });
  draw();
  return {
    async add(file, prediction, classes) {
      const picture = await thumbnail(file).catch(() => null);
      if (picture === null) return;
      const verdict = classes[prediction.verdict] ?? { neither: "Neither", unsure: "Not sure" }[prediction.verdict];
      const entry = { picture, name: file.name, verdict, confidence: prediction.confidence, at: new Date().toISOString() };
      write([entry, ...read()]);
      draw();
    },
  };
}

function show(section, strip) {
  const entries = read();
  section.hidden = entries.length === 0;
  strip.replaceChildren(
    ...entries.map((entry) => element("li", { title: `${entry.name}, ${time(entry.at)}` },
      element("img", { src: entry.picture, alt: entry.name, width: SIDE, height: SIDE }),
      element("strong", {}, entry.verdict),
      element("span", { class: "hint number" }, percent(entry.confidence)))),
  );
}

async function thumbnail(file) {
  const bitmap = await createImageBitmap(file);
  const scale = SIDE / Math.min(bitmap.width, bitmap.height);
  const canvas = element("canvas", { width: SIDE, height: SIDE });
  const width = bitmap.width * scale;
  const height = bitmap.height * scale;
  canvas.getContext("2d").drawImage(bitmap, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.75);
}

function read() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(entries) ? entries.filter((entry) => /^data:image\/jpeg/.test(entry?.picture)) : [];
  } catch {
    return []; // storage is off or holds something else
  }
}

function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries.slice(0, MOST)));
  } catch {
    // Storage is full or off: predictions work without the history.
  }
}
