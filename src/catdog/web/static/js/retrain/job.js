// Start, follow and cancel a retraining. Its state is on the server, so closing the page doesn't stop it.

import { describe, get, send } from "../api.js";
import { duration, element, number, time } from "../dom.js";
import { toast } from "../toasts.js";
import { drawOutcome } from "./outcome.js";

const POLL_MS = 1000;
const SLOW_SECONDS = 10; // a worker normally starts a job within two seconds
const STAGES = {
  collect: "Collect",
  embed: "Compute features",
  fit: "Fit",
  evaluate: "Compare",
  save: "Save",
  promote: "Decide",
};

export class Job {
  #mayChange;
  #changed;
  #timer = null;
  #asking = false;
  #isLost = false;
  #status = null;

  /** @param {Function} changed called when a retraining ends */
  constructor(section, mayChange, changed) {
    this.#mayChange = mayChange;
    this.#changed = changed;
    this.section = section;
    this.said = element("p", { class: "visually-hidden", role: "status" });
    this.refused = element("p", { class: "error", role: "alert", hidden: true });
    this.live = element("div", { class: "stack close" });
    this.controls = element("div", { class: "stack close" });
    this.outcome = element("div", {});
    this.log = element("ol", { class: "retrain-log", tabindex: 0, "aria-label": "Log" });
    this.logBox = element("details", { hidden: true }, element("summary", {}, "Log"), this.log);
    section.append(this.live, this.outcome, this.refused, this.controls, this.logBox, this.said);
    this.#drawControls();
  }

  /** Get the status, then poll each second while the job runs and the tab is visible. */
  async look() {
    clearTimeout(this.#timer);
    if (this.#asking || document.hidden || !this.section.getClientRects().length) return;
    this.#asking = true;
    try {
      this.#take(await get("/api/retrain/status"));
    } catch (error) {
      this.#miss(error);
    } finally {
      this.#asking = false;
    }
    if (this.#status?.in_progress) this.#timer = setTimeout(() => this.look(), POLL_MS);
  }

  /** Redraw everything: another version may have been promoted since the tab was last open. */
  again() {
    this.#status = null;
    return this.look();
  }

  stop() {
    clearTimeout(this.#timer);
    this.section = element("div"); // never visible, so polling stops
  }

  #take(status) {
    const before = this.#status;
    this.#status = status;
    if (this.#isLost) this.#refuse("");
    this.#isLost = false;
    if (before && status.stage !== before.stage) this.said.textContent = status.message;
    if (before?.in_progress && !status.in_progress) {
      this.said.textContent = status.message;
      this.#changed();
    }
    this.live.replaceChildren(...(status.in_progress ? progress(status) : ended(status)));
    if (before?.in_progress !== status.in_progress || before?.job_id !== status.job_id) {
      this.#drawControls();
      this.outcome.replaceChildren();
      if (!status.in_progress && status.result) drawOutcome(this.outcome, status.result, this.#mayChange);
    }
    this.logBox.hidden = !status.log.length;
    this.log.replaceChildren(...status.log.map((line) => element("li", {}, local(line))));
  }

  #miss(error) {
    if (this.#status?.in_progress && error.status !== 404) {
      this.#isLost = true;
      // A restart of the server doesn't end a retraining.
      this.#refuse(`${describe(error)} The retraining continues; this page keeps trying.`);
      return;
    }
    this.#status = null;
    const text =
      error.status === 404 ? "Retraining isn't available on this server." : `Retraining isn't available right now. ${describe(error)}`;
    const again = element("button", { type: "button", onclick: () => this.look() }, "Try again");
    this.live.replaceChildren(element("p", { class: "retrain-missing", role: "note" }, text), again);
    this.controls.replaceChildren();
  }

  #refuse(text) {
    this.refused.textContent = text;
    this.refused.hidden = !text;
  }

  #drawControls() {
    const isRunning = this.#status?.in_progress;
    const isFocused = this.controls.contains(document.activeElement);
    this.#refuse("");
    if (!this.#status) this.controls.replaceChildren();
    else if (!this.#mayChange) {
      const text = "Sign in to start or cancel a retraining.";
      this.controls.replaceChildren(element("p", { class: "hint" }, text));
    } else if (isRunning) this.controls.replaceChildren(this.#button("Cancel", () => this.#cancel()));
    else {
      this.keep = element("input", { type: "checkbox" });
      const label = element("label", { class: "retrain-option" }, this.keep, "Don't deploy automatically");
      this.controls.replaceChildren(label, this.#button("Start retraining", () => this.#start(this.keep.checked), "primary"));
    }
    if (isFocused) this.controls.querySelector("button")?.focus();
  }

  #button(text, action, kind = "") {
    const button = element("button", { type: "button", class: kind }, text);
    button.addEventListener("click", async () => {
      button.disabled = true;
      this.#refuse("");
      try {
        await action();
      } catch (error) {
        this.#refuse(describe(error));
      }
      button.disabled = false;
      await this.look();
    });
    return button;
  }

  async #start(isKept) {
    await send("/api/retrain/trigger", isKept ? { json: { promote: false } } : {});
  }

  async #cancel() {
    const isKept = this.keep?.checked ?? false;
    await send("/api/retrain/cancel");
    toast("Retraining cancelled.", { undo: () => this.#start(isKept).then(() => this.look()) });
  }
}

function progress(status) {
  const names = Object.keys(STAGES);
  const at = names.indexOf(status.stage);
  const word = (place) => (place < at ? "done" : place === at ? "now" : "to do");
  const steps = names.map((name, place) =>
    element(
      "li",
      { "data-step": word(place), "aria-current": place === at ? "step" : null },
      STAGES[name],
      element("span", { class: "visually-hidden" }, `: ${word(place)}`),
    ),
  );
  const left = status.eta_seconds === null ? "" : `, about ${duration(Math.ceil(status.eta_seconds))} left`;
  const waited = (Date.now() - Date.parse(status.created_at)) / 1000;
  const isWaiting = status.state === "queued" && waited > SLOW_SECONDS;
  return [
    element("p", { class: "retrain-heading" }, status.message),
    element("progress", { max: 100, value: status.progress, "aria-label": "Retraining" }),
    element("p", { class: "hint number" }, `${number(status.progress)} %${left}. You can close this page.`),
    element("ol", { class: "retrain-stages" }, steps),
    isWaiting && element("p", { class: "retrain-ask" }, "No worker has picked it up yet. The server starts one; or run ", element("code", {}, "catdog worker"), "."),
  ].filter(Boolean);
}

const ENDS = { succeeded: ["good", "Done"], failed: ["bad", "Failed"], cancelled: ["", "Cancelled"] };

function ended(status) {
  if (!status.state) return [element("p", { class: "muted" }, status.message)];
  const [kind, word] = ENDS[status.state];
  const when = status.finished_at && element("span", { class: "hint" }, time(status.finished_at));
  const head = element("p", { class: "row" }, element("span", { class: `chip ${kind}` }, word), when);
  // The outcome card describes a success.
  return status.result ? [head] : [head, element("p", {}, status.message)];
}

/** Convert the time at the start of a log line to the local time zone. */
function local(line) {
  const [at, ...words] = line.split(" ");
  const when = new Date(at);
  return Number.isNaN(when.getTime()) ? line : `${when.toLocaleTimeString()} ${words.join(" ")}`;
}
