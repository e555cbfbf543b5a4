// Entry point of the page's script. The page also works without it.

import { localTimes } from "./dom.js";
import { start as startSession } from "./session.js";
import { start as startTabs } from "./tabs.js";
import { failure } from "./toasts.js";

addEventListener("unhandledrejection", (event) => failure(event.reason));

localTimes(document);
startSession();
startTabs();
