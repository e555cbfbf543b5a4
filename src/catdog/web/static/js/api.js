// Requests to the server's API, and its errors in words.

/** An error from the API: status (0 if the server wasn't reached), message, and request id for the log. */
export class ApiError extends Error {
  constructor(status, message, requestId) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.requestId = requestId;
  }
}

const UNREACHED = "Can't reach the server. Check your connection and try again.";

/** The page's own sentence for each problem type (RFC 9457), from the server. */
const SENTENCES = JSON.parse(document.body.dataset.problems);

/** Get a path; returns the parsed JSON. */
export function get(path, options = {}) {
  return send(path, { method: "GET", ...options });
}

/**
 * Send a request; returns the parsed JSON.
 * @param {string} path
 * @param {Object} options `method` (default POST), `json` (any value) or `form` (a FormData) or `body` (a Blob),
 *     `headers`, `signal`
 * @throws {ApiError} the server refused it or wasn't reached
 */
export async function send(path, options = {}) {
  const response = await request(path, options);
  return response.json();
}

/** Get HTML rendered by the server. */
export async function fragment(path) {
  const response = await request(path, { method: "GET" });
  return response.text();
}

/**
 * Send a form with progress; returns the parsed JSON.
 * @param {(sent: number, all: number) => void} onprogress called with bytes
 */
export function upload(path, form, { onprogress = () => {}, signal } = {}) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", path);
    for (const [name, value] of Object.entries(ownHeaders())) sending.setRequestHeader(name, value);
    sending.upload.addEventListener("progress", (event) => onprogress(event.loaded, event.total));
    sending.addEventListener("load", () => {
      const requestId = sending.getResponseHeader("X-Request-ID");
      if (sending.status < 400) resolve(JSON.parse(sending.responseText));
      else reject(refusal(sending.status, sending.responseText, requestId));
    });
    sending.addEventListener("error", () => reject(new ApiError(0, UNREACHED, null)));
    sending.addEventListener("abort", () => reject(new DOMException("Stopped.", "AbortError")));
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(form);
  });
}

/** Return an error in words, with the request id if there is one. */
export function describe(error) {
  if (!(error instanceof ApiError)) return `This page failed: ${error.message ?? error}`;
  return error.requestId ? `${error.message} (Request ${error.requestId})` : error.message;
}

/** Return the session's CSRF token; null if not signed in. */
export function token() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? null;
}

/** Replace the CSRF token; null after signing out. */
export function setToken(value) {
  document.querySelector('meta[name="csrf-token"]')?.remove();
  if (!value) return;
  const meta = document.createElement("meta");
  meta.name = "csrf-token";
  meta.content = value;
  document.head.append(meta);
}

function ownHeaders() {
  return token() ? { "X-CSRF-Token": token() } : {};
}

async function request(path, { method = "POST", json, form, body, headers = {}, signal }) {
  const all = { Accept: "application/json", ...ownHeaders(), ...headers };
  if (json !== undefined) all["Content-Type"] = "application/json";
  const content = json === undefined ? (form ?? body) : JSON.stringify(json);
  let response;
  try {
    response = await fetch(path, { method, headers: all, body: content, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, UNREACHED, null);
  }
  if (!response.ok) throw refusal(response.status, await response.text(), response.headers.get("X-Request-ID"));
  return response;
}

function refusal(status, text, requestId) {
  let sentence = SENTENCES[status] ?? `The server refused this (${status}).`;
  try {
    const problem = JSON.parse(text);
    sentence = SENTENCES[problem.type] ?? problem.error ?? sentence;
    requestId = problem.request_id ?? requestId;
  } catch {
    // Not a problem document: a proxy may have responded.
  }
  if (status === 401) document.dispatchEvent(new CustomEvent("catdog:key-needed"));
  return new ApiError(status, sentence, requestId);
}
