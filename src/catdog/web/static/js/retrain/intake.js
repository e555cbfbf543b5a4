// The upload form: choosing, dropping, sending, and the result.

import { describe } from "../api.js";
import { bytes, element, number } from "../dom.js";
import { toast } from "../toasts.js";
import { images, removeBatch } from "./changes.js";
import { nameOf } from "./classes.js";
import { FileList } from "./filelist.js";
import { fromInput, fromTransfer } from "./files.js";
import { intoGroups, nameBatch, sendGroup } from "./sending.js";

/** Set up the form; `changed` is called when images were added or removed. */
export function startIntake(root, changed) {
  const form = root.querySelector(".retrain-intake");
  const place = root.querySelector(".retrain-sending");
  const [files, folder] = form.querySelectorAll('input[type="file"]');
  let waiting = null; // files chosen before their class
  let isSending = false;

  function say(text) {
    root.querySelector(".retrain-said").textContent = text;
  }

  function take(chosen) {
    const category = new FormData(form).get("category");
    if (isSending) toast("An upload is running. Wait for it or stop it, then choose again.");
    else if (!chosen.files.length && !chosen.unreadable.length) toast("No files found.");
    else if (category) send(chosen, category);
    else {
      waiting = chosen;
      const prompt = `${count(chosen.files)} selected. Choose a class to upload.`;
      say(prompt);
      show(element("p", { class: "retrain-ask" }, prompt));
      form.querySelector('input[type="radio"]').focus();
    }
  }

  function show(node) {
    place.replaceChildren(node);
    place.hidden = false;
  }

  async function send(chosen, category) {
    waiting = null;
    isSending = true;
    const stopper = new AbortController();
    const list = new FileList(chosen, Number(root.dataset.mostBytes), () => stopper.abort());
    show(list.node);
    say(`Sending ${count(list.toSend)} as ${nameOf(category)}.`);
    addEventListener("beforeunload", warn);
    const batch = nameBatch();
    const total = await sendAll(list, { category, batch }, stopper.signal);
    removeEventListener("beforeunload", warn);
    isSending = false;
    const summary = summarise(total, list, category);
    say(summary);
    list.end(summary, () => send({ files: list.unsent, unreadable: [], hidden: 0 }, category));
    if (total.accepted) {
      const undo = () => removeBatch(batch).then(changed);
      toast(`${images(total.accepted)} added to ${nameOf(category)}.`, { undo });
    }
    if (total.files) changed();
  }

  for (const node of form.querySelectorAll(".needs-script")) node.hidden = false;
  form.querySelector(".retrain-files").hidden = true;
  form.querySelector(".retrain-choose-files").addEventListener("click", () => files.click());
  form.querySelector(".retrain-choose-folder").addEventListener("click", () => folder.click());
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const input of [files, folder]) {
    input.addEventListener("change", () => {
      const chosen = fromInput(input);
      input.value = ""; // so choosing the same files again is a change
      take(chosen);
    });
  }
  for (const radio of form.querySelectorAll('input[type="radio"]')) {
    radio.addEventListener("change", () => waiting && take(waiting));
  }
  acceptDrops(form.querySelector(".drop"), take);
}

function warn(event) {
  event.preventDefault(); // the browser asks before leaving, as unsent files would be lost
}

async function sendAll(list, about, signal) {
  const total = { files: 0, accepted: 0, duplicates: 0, rejected: [] };
  for (const group of intoGroups(list.toSend)) {
    const watch = {
      sent: (loaded) => list.progress(group, loaded),
      waits: (seconds, error) => list.note(`${describe(error)} Retrying in ${seconds} s.`),
    };
    try {
      const result = await sendGroup(group, about, watch, signal);
      list.finished(group, result);
      list.note("");
      for (const name of ["files", "accepted", "duplicates"]) total[name] += result[name];
      total.rejected.push(...result.rejected);
    } catch (error) {
      list.failed(group, signal.aborted ? "Stopped." : describe(error));
    }
  }
  return total;
}

/** Highlight the drop zone and accept dropped files. */
function acceptDrops(zone, take) {
  function over(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    zone.classList.add("over");
  }
  zone.addEventListener("dragenter", over);
  zone.addEventListener("dragover", over);
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(await fromTransfer(event.dataTransfer));
  });
}

function summarise(total, list, category) {
  const refused = total.rejected.length + list.refusedHere.length;
  const parts = [
    `${images(total.accepted)} added to ${nameOf(category)}`,
    total.duplicates && `${number(total.duplicates)} already there`,
    refused && `${number(refused)} rejected`,
    list.unsent.length && `${number(list.unsent.length)} not sent`,
    list.hidden && `${number(list.hidden)} hidden skipped`,
  ];
  return `${parts.filter(Boolean).join(", ")}.`;
}

function count(files) {
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  return `${number(files.length)} ${files.length === 1 ? "file" : "files"} (${bytes(size)})`;
}
