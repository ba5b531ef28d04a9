// The address holds the view, the query and the settings, so that a link can be sent. Pure functions.

/**
 * @typedef {Record<string, number | string | boolean | null>} Settings
 * @typedef {object} State
 * @property {"search" | "compare" | "documents"} view
 * @property {string} query
 * @property {string[]} where filters, as `--where` takes them
 * @property {string | null} id the document that is shown
 * @property {Settings} settings those that differ from the service's own
 */

const NUMBERS = ["limit", "candidates", "alpha", "blend", "gate", "threshold", "deadline_ms"];
const NULLABLE = ["blend", "gate", "deadline_ms"];
const RETRIEVALS = ["hybrid", "near_text", "bm25"];

/**
 * What an address says; what it cannot mean is left out.
 * @param {string} search the address from its question mark on
 * @returns {State}
 */
export function read(search) {
  const values = new URLSearchParams(search);
  const view = values.get("view");
  return {
    view: view === "compare" || view === "documents" ? view : "search",
    query: values.get("q") ?? "",
    where: values.getAll("where"),
    id: values.get("id"),
    settings: readSettings(values),
  };
}

/**
 * @param {URLSearchParams} values
 * @returns {Settings}
 */
function readSettings(values) {
  /** @type {Settings} */
  const settings = {};
  for (const name of NUMBERS) {
    const text = values.get(name)?.trim();
    if (!text) continue;
    const number = Number(text);
    if (Number.isFinite(number)) settings[name] = number;
    else if (text === "null" && NULLABLE.includes(name)) settings[name] = null;
  }
  const retrieval = values.get("retrieval");
  if (retrieval !== null && RETRIEVALS.includes(retrieval)) settings.retrieval = retrieval;
  const rerank = values.get("rerank");
  if (rerank === "true" || rerank === "false") settings.rerank = rerank === "true";
  return settings;
}

/**
 * The address of a state; `read` gives the same state back.
 * @param {State} state
 */
export function write(state) {
  const values = new URLSearchParams();
  if (state.view !== "search") values.set("view", state.view);
  if (state.query) values.set("q", state.query);
  for (const filter of state.where) values.append("where", filter);
  if (state.id !== null) values.set("id", state.id);
  for (const [name, value] of Object.entries(state.settings)) values.set(name, String(value));
  return `?${values}`;
}

/**
 * The filter that a metadata value stands for; null where the syntax of `--where` has none.
 * @param {string} field
 * @param {string | number | boolean} value
 */
export function filterOn(field, value) {
  if (!field || /[=<>!]/u.test(field) || field !== field.trim()) return null;
  if (typeof value === "boolean") return `${field}=${value}`;
  if (typeof value === "string") return `${field}=${plain(value) ? value : `"${value}"`}`;
  // Larger numbers have lost digits on their way into JavaScript.
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? `${field}=${value}` : null;
}

/** Whether a text stands for itself without quotes. @param {string} text */
function plain(text) {
  return /^\p{L}[\p{L}\p{M}\p{N} _-]*$/u.test(text) && !/^(true|false)$|\s$/u.test(text);
}
