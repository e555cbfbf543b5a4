// Verdicts in words; templates/tabs/predict.html says the same without a script.

import { number, percent } from "./dom.js";

export const NEITHER = "neither";
const UNSURE = "unsure";

/** Say what a verdict means. */
export function inWords(prediction, unsureBelow) {
  if (prediction.verdict === NEITHER) {
    return {
      title: "This looks like none of what I know",
      why: "The picture is unlike all that I learnt from, so that I give it no class. "
        + `Novelty is ${number(prediction.novelty, 2)}; from ${number(0.5, 2)} on I say so. `
        + `If it had to be one, it would be ${prediction.class}.`,
    };
  }
  if (prediction.verdict === UNSURE) {
    return {
      title: "I am not sure",
      why: `The likeliest is ${prediction.class}, but with ${percent(prediction.confidence)} alone; `
        + `under ${percent(unsureBelow, 0)} I do not decide. More light, another angle or one animal alone may help.`,
    };
  }
  return { title: prediction.class, why: `${percent(prediction.confidence)} sure.` };
}

/** Whether a verdict is a class. */
export function isAnswered(prediction) {
  return prediction.verdict !== NEITHER && prediction.verdict !== UNSURE;
}
