// Text of verdicts; templates/prediction.html has the same without scripts.

import { percent } from "./dom.js";

export const NEITHER = "neither";
const UNSURE = "unsure";

/** Return title and explanation of a verdict. */
export function describeVerdict(prediction, { classes, unsureBelow }) {
  if (prediction.verdict === NEITHER) {
    return {
      title: Object.keys(classes).sort().join() === "cat,dog" ? "Not a cat or a dog" : "None of these classes",
      why: `Unlike the training images. Closest class: ${prediction.class}.`,
    };
  }
  if (prediction.verdict === UNSURE) {
    return {
      title: "Not sure",
      why: `Best guess: ${prediction.class} (${percent(prediction.confidence)}), below the ${percent(unsureBelow, 0)} `
        + "needed to decide. A brighter or closer shot may help.",
    };
  }
  return { title: prediction.class, why: `${percent(prediction.confidence)} confident.` };
}

/** Return whether the verdict is a class. */
export function isClass(prediction) {
  return prediction.verdict !== NEITHER && prediction.verdict !== UNSURE;
}
