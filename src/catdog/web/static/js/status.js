// The Model status tab: rendered by the server, refreshed while it is visible.

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
  enhance(panel);
  setInterval(() => {
    if (!panel.hidden && !document.hidden) refresh(panel).catch(() => {}); // the next one may succeed
  }, SECONDS * 1000);
}

export function show(panel) {
  refresh(panel).catch(failure);
}

/** Add what needs a script: readable durations and working buttons. */
function enhance(root) {
  for (const found of root.querySelectorAll("[data-seconds]")) found.textContent = duration(Number(found.dataset.seconds));
  for (const button of root.querySelectorAll(".needs-script")) button.hidden = false;
}

/** Replace the parts that have changed, except one that has the focus. */
async function refresh(panel) {
  const fresh = document.createRange().createContextualFragment(await fragment(PATH));
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = document.getElementById(part.id);
    const source = part.outerHTML;
    if (!old || old.contains(document.activeElement) || started.before.get(part.id) === source) continue;
    started.before.set(part.id, source);
    const opened = [...old.querySelectorAll("details")].map((found) => found.open);
    localTimes(part);
    enhance(part);
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

/** Change the version in use; Undo promotes the previous one. */
async function change(panel, path) {
  const before = await versionInUse();
  const { champion } = await send(path);
  await redraw(panel, champion);
  const undo = async () => {
    await send(`/api/models/${before}/promote`);
    await redraw(panel, before);
    toast(`Version ${before} is in use again.`);
  };
  toast(`Version ${champion} is now in use.`, before === null || before === champion ? {} : { undo });
}

async function versionInUse() {
  const { champion } = await send("/api/models", { method: "GET" });
  return champion;
}

/** Render the whole tab again: metrics and comparison depend on the version in use. */
async function redraw(panel, version) {
  const fresh = document.createRange().createContextualFragment(await fragment(PATH));
  localTimes(fresh);
  enhance(fresh);
  started.before.clear();
  panel.replaceChildren(fresh);
  panel.querySelector("#versions-title").closest("section").querySelector("button")?.focus();
  document.getElementById("version-in-use").textContent = `Model v${version} in use`;
}

async function compare(panel, version) {
  const fresh = document.createRange().createContextualFragment(await fragment(`${PATH}?compare=${version}`));
  const place = panel.querySelector("#comparison");
  place.replaceChildren(...fresh.querySelector("#comparison").childNodes);
  place.scrollIntoView({ block: "nearest", behavior: "smooth" });
  place.focus({ preventScroll: true });
}
