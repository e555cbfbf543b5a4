// The Visualizations tab: draws charts, saves them as files, opens the images of a matrix cell.

import { describe, fragment, get } from "./api.js";
import { element } from "./dom.js";
import { failure } from "./toasts.js";

const WIDTH_SAVED = 640;
const SCALE_SAVED = 2; // PNG pixels per pixel of the page
const dark = matchMedia("(prefers-color-scheme: dark)");

let drawn = []; // functions that release Vega's resources
let watching = null;

export async function start(panel) {
  watching ??= dark.addEventListener("change", () => draw(panel)) ?? true;
  if (!panel.dataset.listening) {
    panel.dataset.listening = "true";
    panel.addEventListener("click", (event) => act(event, panel));
  }
  await draw(panel);
}

/** Refresh the tab. */
export async function show(panel) {
  try {
    const inside = document.createRange().createContextualFragment(await fragment("/tabs/visualizations"));
    panel.replaceChildren(inside);
  } catch (error) {
    failure(error);
    return;
  }
  await draw(panel);
}

async function draw(panel) {
  const root = panel.querySelector("#visualizations");
  if (!root) return; // there is no model
  drawn.forEach((free) => free());
  drawn = [];
  for (const button of panel.querySelectorAll("[data-save]")) button.hidden = false;
  for (const place of panel.querySelectorAll(".chart")) {
    place.removeAttribute("role");
    place.replaceChildren(element("p", { class: "muted" }, "Drawing…"));
    place.hidden = false;
  }
  try {
    await load(root.dataset.vega);
    await Promise.all([...panel.querySelectorAll(".chart")].map(drawOne));
  } catch (error) {
    for (const place of panel.querySelectorAll(".chart")) place.hidden = true;
    failure(error); // the tables still work
  }
}

async function drawOne(place) {
  const card = place.closest("[data-chart]");
  const specification = await get(`/api/charts/${card.dataset.chart}`);
  const { finalize } = await embed(place, { ...specification, config: theme(document.documentElement) });
  drawn.push(finalize);
  // One image to screen readers; the table below has the data.
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `Chart: ${card.dataset.title}. The table below has its numbers.`);
}

function embed(place, specification) {
  return window.vegaEmbed(place, specification, {
    actions: false,
    ast: true, // interprets expressions, as the content policy forbids compiling them
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  });
}

let loading = null;

/** Load the drawing library, once. */
function load(address) {
  loading ??= new Promise((resolve, reject) => {
    const failed = () => {
      loading = null;
      script.remove();
      reject(new Error("the chart library couldn't be loaded"));
    };
    const script = element("script", { src: address, onload: resolve, onerror: failed });
    document.head.append(script);
  });
  return loading;
}

/** Return Vega's theme in the page's current colours. */
function theme(root) {
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    background: "transparent",
    font: style.fontFamily,
    view: { stroke: null },
    axis: {
      domainColor: colour("line-strong"),
      gridColor: colour("line"),
      labelColor: colour("muted"),
      labelSeparation: 8,
      tickColor: colour("line-strong"),
      titleColor: colour("muted"),
      titleFontWeight: "normal",
    },
    legend: { labelColor: colour("text"), orient: "top", title: null },
    mark: { color: colour("accent") },
    rule: { color: colour("line-strong") },
    text: { color: colour("text") },
    range: {
      category: ["class-0", "class-1", "class-2", "class-3", "unsure", "neither"].map(colour),
      heatmap: [colour("accent-soft"), colour("accent")],
    },
  };
}

function act(event, panel) {
  const button = event.target.closest("[data-save]");
  const cell = event.target.closest("a.cell");
  if (button) save(button, panel);
  else if (cell && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    open(cell, panel);
  }
}

/** Draw a chart in its print colours and save it as a file. */
async function save(button, panel) {
  const card = button.closest("[data-chart]");
  const place = element("div");
  button.disabled = true;
  try {
    await load(panel.querySelector("#visualizations").dataset.vega);
    const specification = await get(`/api/charts/${card.dataset.chart}`);
    const config = { ...specification.config, background: "white" };
    const { view, finalize } = await embed(place, { ...specification, config, width: WIDTH_SAVED, title: card.dataset.title });
    const blob = button.dataset.save === "svg" ? await svgOf(view) : await pngOf(view);
    finalize();
    download(blob, `${card.dataset.file}.${button.dataset.save}`);
  } catch (error) {
    failure(error);
  } finally {
    button.disabled = false;
  }
}

async function svgOf(view) {
  return new Blob([await view.toSVG()], { type: "image/svg+xml" });
}

async function pngOf(view) {
  const canvas = await view.toCanvas(SCALE_SAVED);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Show the images of a cell, and update the page's address. */
async function open(cell, panel) {
  const section = panel.querySelector("#pictures");
  const address = new URL(cell.href);
  try {
    const inside = await fragment(`/tabs/visualizations/pictures${address.search}`);
    section.replaceChildren(document.createRange().createContextualFragment(inside));
    history.replaceState(history.state, "", address);
    section.focus({ preventScroll: true });
    section.scrollIntoView({ block: "nearest" });
  } catch (error) {
    section.replaceChildren(element("p", { class: "error", role: "alert" }, describe(error)));
  }
}
