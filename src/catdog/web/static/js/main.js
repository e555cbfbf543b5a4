// Where the page's script begins. Everything it does can also be done without it, less comfortably.

import { localTimes } from "./dom.js";
import { start as startSession } from "./session.js";
import { start as startTabs } from "./tabs.js";
import { failure } from "./toasts.js";

addEventListener("unhandledrejection", (event) => failure(event.reason));

localTimes(document);
startSession();
startTabs();
