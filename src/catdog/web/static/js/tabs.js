// Tabs (https://www.w3.org/WAI/ARIA/apg/patterns/tabs/) on top of plain links; the address names the open tab.

import { describe, fragment } from "./api.js";
import { element, localTimes } from "./dom.js";

const MODULES = {
  predict: () => import("./predict.js"),
  visualizations: () => import("./visualizations.js"),
  retrain: () => import("./retrain.js"),
  status: () => import("./status.js"),
};

const started = new Map(); // tab -> promise of its module

export function start() {
  const list = document.getElementById("tabs");
  const tabs = [...list.querySelectorAll("[data-tab]")];
  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `panel-${tab.dataset.tab}`);
    const panel = panelOf(tab.dataset.tab);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.setAttribute("tabindex", "0");
    tab.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens in a new window
      event.preventDefault();
      go(tab.dataset.tab);
    });
    tab.addEventListener("keydown", (event) => move(event, tabs, tab));
  }
  addEventListener("popstate", () => select(named()));
  const current = tabs.find((tab) => tab.hasAttribute("aria-current"));
  for (const tab of tabs) tab.removeAttribute("aria-current");
  select(current.dataset.tab);
}

/** Open a tab and update the page's address. */
export function go(name) {
  if (name !== named()) history.pushState(null, "", `/?tab=${name}`);
  select(name);
}

function named() {
  const name = new URLSearchParams(location.search).get("tab");
  return name in MODULES ? name : "predict";
}

function panelOf(name) {
  return document.getElementById(`panel-${name}`);
}

function select(name) {
  for (const tab of document.querySelectorAll("[data-tab]")) {
    const isChosen = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", isChosen);
    tab.tabIndex = isChosen ? 0 : -1;
    panelOf(tab.dataset.tab).hidden = !isChosen;
    if (isChosen) {
      document.title = `${tab.textContent} · catdog`;
      // scrollIntoView would move the keyboard's starting point past the header.
      const list = tab.parentElement;
      list.scrollLeft = tab.offsetLeft - list.offsetLeft - (list.clientWidth - tab.offsetWidth) / 2;
    }
  }
  open(name);
}

function move(event, tabs, tab) {
  const at = tabs.indexOf(tab);
  const places = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
  if (event.key === " ") {
    event.preventDefault(); // links handle only Enter
    tab.click();
  }
  if (!(event.key in places) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const next = tabs[(places[event.key] + tabs.length) % tabs.length];
  next.focus();
  go(next.dataset.tab);
}

/** Load a tab the first time; later, let it refresh. */
async function open(name) {
  const panel = panelOf(name);
  if (started.has(name)) {
    const module = await started.get(name);
    module?.show?.(panel);
    return;
  }
  started.set(name, begin(name, panel));
  await started.get(name);
}

async function begin(name, panel) {
  try {
    if (!panel.childElementCount) {
      panel.setAttribute("aria-busy", "true");
      panel.replaceChildren(element("p", { class: "muted" }, "Loading…"));
      const inside = document.createRange().createContextualFragment(await fragment(`/tabs/${name}`));
      localTimes(inside);
      panel.replaceChildren(inside);
    }
    const module = await MODULES[name]();
    await module.start(panel);
    return module;
  } catch (error) {
    started.delete(name); // opening the tab again retries
    panel.replaceChildren(
      element("div", { class: "error", role: "alert" }, `This tab couldn't be loaded. ${describe(error)}`),
    );
    return null;
  } finally {
    panel.removeAttribute("aria-busy");
  }
}
