// The Retrain tab: add images, review and check them, train a new version.

import { fragment } from "./api.js";
import { element } from "./dom.js";
import { useClasses } from "./retrain/classes.js";
import { Findings } from "./retrain/findings.js";
import { Gallery } from "./retrain/gallery.js";
import { startIntake } from "./retrain/intake.js";
import { Job } from "./retrain/job.js";

let job = null;
let refresh = () => {};

export function start(panel) {
  begin(panel);
  document.addEventListener("catdog:signed-in", async () => {
    // Permissions have changed, so the server renders the tab again.
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
  const folders = useClasses(JSON.parse(root.dataset.classes));
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
    const why = mayChange ? "Available once there is a model." : "Sign in to use this.";
    for (const name of ["gallery", "findings"]) places(name).append(element("p", { class: "muted" }, why));
  }
  job?.stop();
  job = new Job(places("job"), mayChange && folders.length > 0, () => refresh());
  refresh();
  job.look();
}
