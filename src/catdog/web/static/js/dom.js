// Elements, and formatting of numbers, times and sizes. templates/parts.html has the same for the server.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag its name
 * @param {Object} attributes a function becomes a listener (`onclick`), true an empty attribute, false or null none
 * @param {...(Node|string|number|null|undefined|false|Array)} children text is never read as HTML
 */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Make a bar filled to `share`, 0 to 1; `kind` is a class of components.css, such as `class-0`. */
export function bar(share, kind = "") {
  const attributes = { class: `bar ${kind}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" };
  return svg(
    "svg",
    attributes,
    svg("rect", { class: "bar-all", width: 100, height: 10 }),
    svg("rect", { class: "bar-part", width: (100 * share).toFixed(2), height: 10 }),
  );
}

/** Format a share, 0 to 1: "97.2 %". Only exact 0 and 1 become 0 % and 100 %. */
export function percent(share, digits = 1) {
  const step = 10 ** -digits;
  if (share > 0 && 100 * share < step / 2) return `< ${step.toFixed(digits)} %`;
  if (share < 1 && 100 * (1 - share) < step / 2) return `> ${(100 - step).toFixed(digits)} %`;
  return `${(100 * share).toFixed(digits)} %`;
}

/** Format a number for the reader's locale. */
export function number(value, digits = 0) {
  return value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Format a count with its noun: "1 image was", "1,024 images". The server's `counted` does the same. */
export function counted(count, one, several = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : several}`;
}

/** Format a number of bytes: "3.4 MB". */
export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const step = count < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  return `${number(count / 1000 ** step, step > 1 ? 1 : 0)} ${units[step]}`;
}

/** Format a duration in seconds: "3 min 20 s". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor((whole % 86400) / 3600), "h"],
    [Math.floor((whole % 3600) / 60), "min"],
    [whole % 60, "s"],
  ].filter(([value]) => value > 0);
  return parts.slice(0, 2).map(([value, unit]) => `${value} ${unit}`).join(" ") || "0 s";
}

/** Format an ISO 8601 time in the reader's zone and locale. */
export function time(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Make a <time> in the reader's zone. */
export function timeElement(iso) {
  return element("time", { datetime: iso, title: iso }, time(iso));
}

/** Convert every <time> under an element to the reader's zone. */
export function localTimes(root) {
  for (const found of root.querySelectorAll("time[datetime]")) {
    found.title = found.dateTime;
    found.textContent = time(found.dateTime);
  }
}
