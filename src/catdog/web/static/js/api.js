// Requests to the server's API, and its errors in words.

/** An error of the API: its status (0 where the server was not reached), sentence, and the request's name in the log. */
export class ApiError extends Error {
  constructor(status, message, requestId) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.requestId = requestId;
  }
}

const UNREACHED = "The server cannot be reached. Check the connection, and try again.";

/** Get a path; gives the parsed JSON. */
export function get(path, options = {}) {
  return send(path, { method: "GET", ...options });
}

/**
 * Send a request; gives the parsed JSON.
 * @param {string} path
 * @param {Object} options `method` (POST where not given), `json` (any value) or `form` (a FormData) or `body` (a Blob),
 *     `headers`, `signal`
 * @throws {ApiError} the server refused it or was not reached
 */
export async function send(path, options = {}) {
  const response = await request(path, options);
  return response.json();
}

/** Get HTML that the server rendered. */
export async function fragment(path) {
  const response = await request(path, { method: "GET" });
  return response.text();
}

/**
 * Send a form and be told how far it is; gives the parsed JSON.
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

/** Write an error for people, with the request's name where there is one. */
export function describe(error) {
  if (!(error instanceof ApiError)) return `Something on this page failed: ${error.message ?? error}`;
  return error.requestId ? `${error.message} (Request ${error.requestId})` : error.message;
}

/** Give the token of the session, where the browser is signed in. */
export function token() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? null;
}

/** Take another token into use; null after signing out. */
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
  let sentence = `The server refused this (${status}).`;
  try {
    const problem = JSON.parse(text);
    sentence = problem.error ?? sentence;
    requestId = problem.request_id ?? requestId;
  } catch {
    // Not a problem document: a proxy may have answered.
  }
  if (status === 401) document.dispatchEvent(new CustomEvent("catdog:key-needed"));
  return new ApiError(status, sentence, requestId);
}
