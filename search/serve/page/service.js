// Asks the service, and says in one way what went wrong.

/** @typedef {"away" | "key" | "busy" | "refused" | "failed"} Kind */

export class Problem extends Error {
  /**
   * @param {Kind} kind away: it does not answer; key: it asks for a key; busy: too much waits;
   *     refused: it will not do this; failed: it could not
   * @param {string} message
   * @param {number} status the HTTP status; 0 without an answer
   * @param {number} seconds after which to try again, when busy
   */
  constructor(kind, message, status = 0, seconds = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.seconds = seconds;
  }
}

const KEY = "service-key";

export const keys = {
  get: () => sessionStorage.getItem(KEY),
  /** @param {string} key */
  set: (key) => sessionStorage.setItem(KEY, key),
};

/**
 * The service's answer. Throws Problem, or the signal's AbortError.
 * @param {string} path relative, so that the page works below any address
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = keys.get();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem("away", "The service does not answer.");
  }
  if (!response.ok) throw await problem(response);
  return response;
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<any>}
 */
export async function askJson(path, options = {}) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem("away", "The service's answer broke off.");
  }
}

/**
 * @param {object} body
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
export function search(body, signal) {
  const headers = { "Content-Type": "application/json" };
  return askJson("search", { method: "POST", headers, body: JSON.stringify(body), signal });
}

/**
 * The records of a streamed answer, one object for each line, as they come in.
 * @param {Response} response
 * @returns {AsyncGenerator<any>}
 */
export async function* lines(response) {
  const reader = /** @type {ReadableStream} */ (response.body)
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let rest = "";
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch {
      throw new Problem("away", "The service's answer broke off.");
    }
    const found = (rest + (read.value ?? "")).split("\n");
    rest = read.done ? "" : (found.pop() ?? "");
    for (const line of found) if (line.trim()) yield JSON.parse(line);
    if (read.done) return;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
async function problem(response) {
  const { status } = response;
  const said = await message(response);
  if (status === 401) return new Problem("key", said, status);
  if (status === 429) {
    const seconds = Number(response.headers.get("Retry-After"));
    return new Problem("busy", said, status, Math.max(1, seconds || 1));
  }
  return new Problem(status < 500 ? "refused" : "failed", said, status);
}

/** @param {Response} response */
async function message(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string") return error;
  } catch {
    // Not from the service itself, but from something that stands before it.
  }
  return `The answer was ${response.status} ${response.statusText}`.trim();
}
