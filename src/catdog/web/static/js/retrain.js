// The tab "retrain": pictures come in, are looked through and checked, and a new version is made of them.

import { fragment } from "./api.js";
import { element } from "./dom.js";
import { Findings } from "./retrain/findings.js";
import { Gallery } from "./retrain/gallery.js";
import { startIntake } from "./retrain/intake.js";
import { Job } from "./retrain/job.js";

let job = null;
let refresh = () => {};

export function start(panel) {
  begin(panel);
  document.addEventListener("catdog:signed-in", async () => {
    // What the reader may do has changed: the server draws the tab anew.
    panel.replaceChildren(document.createRange().createContextualFragment(await fragment("/tabs/retrain")));
    begin(panel);
  });
  document.addEventListener("visibilitychange", () => job.look());
}

export function show() {
  refresh();
  job.again();
}

function begin(panel) {
  const root = panel.querySelector(".retrain");
  const mayChange = root.dataset.mayChange === "yes";
  const folders = root.dataset.folders.split("/").filter(Boolean); // no folder's name has a slash
  const places = (name) => root.querySelector(`.retrain-${name}`);
  for (const link of root.querySelectorAll("[data-sign-in]")) {
    link.addEventListener("click", () => document.dispatchEvent(new CustomEvent("catdog:key-needed")));
  }
  refresh = () => {};
  if (mayChange && folders.length) {
    const gallery = new Gallery(places("gallery"), folders, () => refresh());
    const findings = new Findings(places("findings"), gallery, () => refresh());
    refresh = () => {
      gallery.load();
      findings.load();
    };
    startIntake(root, () => refresh());
  } else {
    const why = mayChange ? "This comes with the first model." : "This is for who may change things on this server.";
    for (const name of ["gallery", "findings"]) places(name).append(element("p", { class: "muted" }, why));
  }
  job?.stop();
  job = new Job(places("job"), mayChange && folders.length > 0, () => refresh());
  refresh();
  job.look();
}
