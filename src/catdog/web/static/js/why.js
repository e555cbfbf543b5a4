// Explains a prediction: a heat map over the image, and the most similar training images.

import { send } from "./api.js";
import { element, number, percent } from "./dom.js";

const FIRST_OPACITY = 70;

/** Show or hide the explanation; it is fetched once. */
export async function explain({ file, stage, shot, similar, button }) {
  const shown = button.getAttribute("aria-expanded") === "true";
  if (!stage.querySelector(".heat")) {
    button.disabled = true;
    try {
      const form = new FormData();
      form.append("image", file, "image");
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
    alt: `Heat map: brighter areas are stronger evidence for ${explanation.explained.class}`,
  });
  const value = element("output", { class: "number" }, percent(FIRST_OPACITY / 100, 0));
  const slider = element("input", { type: "range", min: 0, max: 100, value: FIRST_OPACITY });
  const set = () => {
    heat.style.opacity = slider.value / 100; // set by script, which the content policy allows
    value.textContent = percent(slider.value / 100, 0);
  };
  slider.addEventListener("input", set);
  set();
  stage.append(heat);
  shot.append(element("label", { class: "slider" }, "Heat map", slider, value));
  similar.append(
    element("h4", {}, "Most similar training images"),
    explanation.similar.length
      ? element("ol", {}, explanation.similar.map(similarItem))
      : element("p", { class: "hint" }, "This version has no training images to compare with."),
  );
  if (explanation.similar.length && !explanation.similar.some((one) => one.file)) {
    similar.append(element("p", { class: "hint" }, "The image files aren't on this server. Distance 0 means identical."));
  }
}

function similarItem(one) {
  return element("li", {},
    one.file && element("img", { src: one.file, alt: "", loading: "lazy" }),
    element("span", {}, one.class),
    element("span", { class: "hint number" }, `distance ${number(one.distance, 2)}`));
}
