// The tab "Model status": rendered by the server, brought up to date while it is looked at.

import { fragment, send } from "./api.js";
import { duration, localTimes } from "./dom.js";
import { failure, toast } from "./toasts.js";

const SECONDS = 10;
const PATH = "/tabs/status";

let started = null;

export function start(panel) {
  started = { panel, before: new Map() };
  panel.addEventListener("click", (event) => act(event, panel).catch(failure));
  document.addEventListener("catdog:signed-in", () => refresh(panel).catch(failure));
  dress(panel);
  setInterval(() => {
    if (!panel.hidden && !document.hidden) refresh(panel).catch(() => {}); // the next one may succeed
  }, SECONDS * 1000);
}

export function show(panel) {
  refresh(panel).catch(failure);
}

/** Do what only a script can: durations in words, buttons that send something. */
function dress(root) {
  for (const found of root.querySelectorAll("[data-seconds]")) found.textContent = duration(Number(found.dataset.seconds));
  for (const button of root.querySelectorAll(".needs-script")) button.hidden = false;
}

/** Render anew what has changed, but for a part in which the reader is. */
async function refresh(panel) {
  const fresh = document.createRange().createContextualFragment(await fragment(PATH));
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = document.getElementById(part.id);
    const source = part.outerHTML;
    if (!old || old.contains(document.activeElement) || started.before.get(part.id) === source) continue;
    started.before.set(part.id, source);
    const opened = [...old.querySelectorAll("details")].map((found) => found.open);
    localTimes(part);
    dress(part);
    part.querySelectorAll("details").forEach((found, at) => {
      found.open = opened[at] ?? false;
    });
    old.replaceWith(part);
  }
}

async function act(event, panel) {
  const pressed = event.target.closest("[data-act]");
  if (!pressed || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { act: name, version } = pressed.dataset;
  if (name === "promote") await change(panel, `/api/models/${version}/promote`);
  if (name === "rollback") await change(panel, "/api/models/rollback");
  if (name === "compare") await compare(panel, new URL(pressed.href).searchParams.get("compare"));
  if (name === "close-comparison") panel.querySelector("#comparison").replaceChildren();
}

/** Change who answers; Undo promotes the version that answered before. */
async function change(panel, path) {
  const before = await answering();
  const { champion } = await send(path);
  await renew(panel, champion);
  const undo = async () => {
    await send(`/api/models/${before}/promote`);
    await renew(panel, before);
    toast(`Version ${before} answers again.`);
  };
  toast(`Version ${champion} answers now.`, before === null || before === champion ? {} : { undo });
}

async function answering() {
  const { champion } = await send("/api/models", { method: "GET" });
  return champion;
}

/** Render the whole tab anew: metrics and comparison are of the version that answers. */
async function renew(panel, version) {
  const fresh = document.createRange().createContextualFragment(await fragment(PATH));
  localTimes(fresh);
  dress(fresh);
  started.before.clear();
  panel.replaceChildren(fresh);
  panel.querySelector("#versions-title").closest("section").querySelector("button")?.focus();
  document.getElementById("answering").textContent = `Version ${version} answers`;
}

async function compare(panel, version) {
  const fresh = document.createRange().createContextualFragment(await fragment(`${PATH}?compare=${version}`));
  const place = panel.querySelector("#comparison");
  place.replaceChildren(...fresh.querySelector("#comparison").childNodes);
  place.scrollIntoView({ block: "nearest", behavior: "smooth" });
  place.focus({ preventScroll: true });
}
