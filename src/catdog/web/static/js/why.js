// Why a picture got its answer: the heat map over it, and the training pictures that are most like it.

import { send } from "./api.js";
import { element, number, percent } from "./dom.js";

const FIRST_OPACITY = 70;

/** Show the explanation, or hide it again; it is asked for once. */
export async function explain({ file, stage, shot, similar, button }) {
  const shown = button.getAttribute("aria-expanded") === "true";
  if (!stage.querySelector(".heat")) {
    button.disabled = true;
    try {
      const form = new FormData();
      form.append("image", file, "picture");
      fill(await send("/api/explain", { form }), { stage, shot, similar });
    } finally {
      button.disabled = false;
    }
  }
  button.setAttribute("aria-expanded", String(!shown));
  for (const part of [stage.querySelector(".heat"), shot.querySelector(".slider"), similar]) part.hidden = shown;
}

function fill(explanation, { stage, shot, similar }) {
  const heat = element("img", {
    class: "heat",
    src: explanation.heat_map,
    alt: `Heat map: the brighter a place, the more it speaks for ${explanation.explained.class}`,
  });
  const value = element("output", { class: "number" }, percent(FIRST_OPACITY / 100, 0));
  const slider = element("input", { type: "range", min: 0, max: 100, value: FIRST_OPACITY });
  const set = () => {
    heat.style.opacity = slider.value / 100; // through the object model, which the policy allows
    value.textContent = percent(slider.value / 100, 0);
  };
  slider.addEventListener("input", set);
  set();
  stage.append(heat);
  shot.append(element("label", { class: "slider" }, "Heat map", slider, value));
  similar.append(
    element("h4", {}, "Most similar training pictures"),
    explanation.similar.length
      ? element("ol", {}, explanation.similar.map(similarItem))
      : element("p", { class: "hint" }, "This version brings none to compare with."),
  );
  if (explanation.similar.length && !explanation.similar.some((one) => one.file)) {
    similar.append(element("p", { class: "hint" }, "Their files are not here to be shown. Distance 0 would be the same."));
  }
}

function similarItem(one) {
  return element("li", {},
    one.file && element("img", { src: one.file, alt: "", loading: "lazy" }),
    element("span", {}, one.class),
    element("span", { class: "hint number" }, `distance ${number(one.distance, 2)}`));
}
