// The page: one state, read from the address, and the view of it.

import { read, write } from "./address.js";
import { answerView, remarks, howMade } from "./answer.js";
import { compareView } from "./compare.js";
import { controlsView } from "./controls.js";
import { asked, documentsView, documentView } from "./documents.js";
import { h, the } from "./dom.js";
import { askJson, keys, Problem, search } from "./service.js";
import { counted, shortPath } from "./text.js";

/** @typedef {import("./address.js").State} State */

const NAME = "Two-stage search";
const DEBOUNCE_MS = 150;
const AGAIN_SECONDS = 3;
const MAX_WAITS = 5;

/** @type {State} */
let state = read(location.search);
/** @type {any} What /status gave last. */
let status = null;
let running = new AbortController();
let pause = 0;

const actions = {
  filter: addFilter,
  href: (/** @type {string} */ id) => write({ ...state, view: "documents", id }),
  patiently,
  report,
  say,
  refresh,
  back,
  changeKey,
  goToAll: () => go({ ...state, view: "documents", id: null }),
};

// --- from state to page

/**
 * Goes to another state, as a link does.
 * @param {State} next
 */
function go(next) {
  state = next;
  history.pushState(null, "", write(state));
  scrollTo(0, 0);
  show();
}

/** Shows the state: the form at once, the rest when the service has answered. */
async function show() {
  clearTimeout(pause);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  showForm();
  const slow = setTimeout(() => the("main").classList.add("waiting"), 300);
  try {
    status ??= await patiently(() => askJson("status", { signal }));
    showControls();
    const content = await view(signal);
    if (signal.aborted) return;
    the("notice").replaceChildren();
    the("main").replaceChildren(...content);
  } catch (problem) {
    if (!signal.aborted) report(problem);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) the("main").classList.remove("waiting");
  }
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Node[]>}
 */
async function view(signal) {
  if (state.view === "documents")
    return state.id === null ? documentsView(status, actions) : documentView(state.id, status, actions);
  if (!state.query.trim()) return [welcome()];
  const comparing = state.view === "compare";
  const answer = await patiently(
    () =>
      search(
        {
          query: state.query,
          where: state.where,
          ...state.settings,
          passages: !comparing,
          before: comparing,
          ...(comparing && { highlight: false }), // only titles are shown
        },
        signal,
      ),
    signal,
  );
  const took = Math.round(answer.timings_ms.total ?? 0);
  say(`${counted(answer.hits.length, "answer")} in ${took} ms`);
  const title = h("h1", { class: "unseen" }, comparing ? "Both orders" : "Answers");
  if (!comparing) return [title, ...answerView(answer, actions)];
  return [title, ...remarks(answer), compareView(answer, actions.href), howMade(answer)];
}

/** What stands below the field before a question is asked. */
function welcome() {
  const { documents, passages } = status.store;
  if (documents > 0)
    return h(
      "h1",
      { class: "welcome" },
      `Ask ${counted(documents, "document")} (${counted(passages, "passage")}).`,
    );
  return h(
    "div",
    { class: "welcome" },
    h("h1", {}, "Nothing is stored yet, so there is nothing to find."),
    h("p", {}, h("a", { class: "button", href: "?view=documents" }, "Add documents")),
    h("p", { class: "hint" }, "or, in a terminal: ", h("code", {}, "two-stage ingest PATH")),
  );
}

function showForm() {
  const { view, query, where } = state;
  document.title = query && view !== "documents" ? `${query} · ${NAME}` : NAME;
  if (document.body.dataset.view !== view) {
    // On a phone the settings would push the answer out of sight.
    the("settings").open = view === "compare" && matchMedia("(min-width: 42rem)").matches;
  }
  document.body.dataset.view = view;
  if (the("query").value.trim() !== query) the("query").value = query;
  for (const link of document.querySelectorAll("nav a")) {
    const other = /** @type {HTMLAnchorElement} */ (link);
    other.href = write({ ...state, view: /** @type {any} */ (other.dataset.view), id: null });
    if (other.dataset.view === view) other.setAttribute("aria-current", "page");
    else other.removeAttribute("aria-current");
  }
  the("filters").hidden = where.length === 0;
  the("filters").replaceChildren(...where.map(chip));
  const count = Object.keys(state.settings).length;
  the("reset").hidden = count === 0;
  the("changed").textContent = count > 0 ? `(${count} changed)` : "";
}

/** @param {string} filter */
function chip(filter) {
  const remove = () => go({ ...state, where: state.where.filter((other) => other !== filter) });
  return h(
    "li",
    {},
    h("button", { type: "button", onclick: remove, "aria-label": `Remove the filter ${filter}` },
      h("bdi", {}, filter), h("span", { "aria-hidden": "true" }, "×")),
  );
}

/** The controls are made anew unless one of them is being moved. */
function showControls() {
  if (the("controls").contains(document.activeElement)) return;
  the("controls").replaceChildren(
    ...controlsView(status.defaults, state.settings, (settings) => {
      state = { ...state, settings };
      history.replaceState(null, "", write(state));
      showForm();
      clearTimeout(pause);
      pause = setTimeout(show, DEBOUNCE_MS);
    }),
  );
  the("about").textContent = about();
}

function about() {
  const { store, embedding, reranker } = status;
  const models = [embedding?.name, reranker?.name].filter(Boolean).join(", then ");
  return `${counted(store.documents, "document")} in ${shortPath(store.location)}. ${models}.`;
}

async function refresh() {
  try {
    status = await patiently(() => askJson("status"));
    the("about").textContent = about();
  } catch (problem) {
    report(problem);
  }
}

function back() {
  if (!state.query) return { href: write({ ...state, id: null }), name: "All documents" };
  return { href: write({ ...state, view: "search", id: null }), name: "Answers" };
}

/** @param {string} filter */
function addFilter(filter) {
  const where = state.where.includes(filter) ? state.where : [...state.where, filter];
  go({ ...state, where, view: state.view === "documents" ? "search" : state.view, id: null });
  the("main").focus();
}

// --- when the service does not answer as hoped

/**
 * The action's result; asks for a key and waits where the service wants that.
 * @template T
 * @param {() => Promise<T>} action
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
async function patiently(action, signal) {
  for (let waits = 0; ; ) {
    try {
      return await action();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.kind === "key" && (await askKey(problem.message))) continue;
      if (problem.kind !== "busy" || ++waits > MAX_WAITS) throw problem;
      await countdown(problem, signal);
    }
  }
}

/**
 * @param {string} reason
 * @returns {Promise<boolean>} whether one was given
 */
async function askKey(reason) {
  the("ask-key-reason").textContent = reason;
  the("key").value = "";
  if ((await asked(the("ask-key"))) !== "use") return false;
  keys.set(the("key").value);
  status = null; // what may be done differs by key
  return true;
}

async function changeKey() {
  if (await askKey("Which key is to be used instead?")) show();
}

/**
 * Waits as long as the service wants, and says so.
 * @param {Problem} problem
 * @param {AbortSignal} [signal]
 */
async function countdown(problem, signal) {
  for (let left = Math.ceil(problem.seconds); left > 0; left--) {
    notice(`${problem.message} Trying again in ${left} s.`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    signal?.throwIfAborted();
  }
  the("notice").replaceChildren();
}

/**
 * Shows what went wrong, and what can be done about it.
 * @param {unknown} problem
 */
function report(problem) {
  if (!(problem instanceof Problem)) throw problem;
  const again = h("button", { type: "button", onclick: show }, "Try again");
  notice(problem.message, problem.kind === "refused" ? null : again);
  the("main").classList.remove("waiting");
  if (problem.kind === "away") waitUntilBack();
}

async function waitUntilBack() {
  const { signal } = running;
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN_SECONDS * 1000));
    try {
      await fetch("live", { signal });
      if (!signal.aborted) show();
      return;
    } catch {
      // Still away.
    }
  }
}

/** @param {string} text @param {Node | null} [action] */
function notice(text, action) {
  the("notice").replaceChildren(h("p", {}, text), ...(action ? [action] : []));
}

/** @param {string} text */
function say(text) {
  the("said").textContent = text;
}

// --- what people do

function onSubmit(/** @type {Event} */ event) {
  event.preventDefault();
  const view = state.view === "documents" ? "search" : state.view;
  go({ ...state, view, query: the("query").value.trim(), id: null });
}

/** Links to other states of this page do not load it anew. */
function onClick(/** @type {MouseEvent} */ event) {
  const link = /** @type {Element} */ (event.target).closest("a");
  const other = event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!link?.getAttribute("href")?.startsWith("?") || other) return;
  event.preventDefault();
  go(read(link.search));
  (state.query || state.view === "documents" ? the("main") : the("query")).focus();
}

function onKey(/** @type {KeyboardEvent} */ event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("dialog")) return;
  const typing = target.matches("textarea, input:not([type=radio], [type=checkbox], [type=range])");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    the("query").focus();
    the("query").select();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !isControl(target)) {
    if (moveFocus(target, event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
  } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && target.closest(".compare")) {
    otherPlace(target)?.focus();
  } else if (event.key === "Escape" && !typing) {
    if (state.view === "documents" && state.id !== null) history.back();
    else the("query").focus();
  }
}

/** Whether the arrow keys have a meaning of their own there. @param {HTMLElement} target */
function isControl(target) {
  return target !== the("query") && target.matches("input, textarea, select");
}

/**
 * Moves between the field and the hits.
 * @param {HTMLElement} from
 * @param {1 | -1} step
 */
function moveFocus(from, step) {
  const scope = from.closest(".compare section") ?? document;
  const hits = /** @type {HTMLElement[]} */ ([...scope.querySelectorAll("[data-hit]")]);
  const here = hits.indexOf(/** @type {HTMLElement} */ (from.closest("li")?.querySelector("[data-hit]")));
  const next = here < 0 ? (step > 0 ? hits[0] : null) : here + step < 0 ? the("query") : hits[here + step];
  next?.focus();
  return Boolean(next);
}

/**
 * The same document in the other order.
 * @param {HTMLElement} from
 * @returns {HTMLElement | undefined}
 */
function otherPlace(from) {
  const row = /** @type {HTMLElement} */ (from.closest("[data-id]"));
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".compare li")]);
  const other = rows.find((one) => one !== row && one.dataset.id === row.dataset.id);
  return other?.querySelector("a") ?? undefined;
}

/** Files dropped anywhere are added. */
async function onDrop(/** @type {DragEvent} */ event) {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length === 0) return;
  if (state.view !== "documents" || state.id !== null) {
    state = { ...state, view: "documents", id: null };
    history.pushState(null, "", write(state));
    await show();
  }
  document.querySelector(".drop")?.dispatchEvent(new CustomEvent("files", { detail: files }));
}

function switchTheme() {
  const root = document.documentElement;
  root.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage is switched off: the choice holds for this page.
  }
  showTheme();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The switch names the other theme. */
function showTheme() {
  the("theme").textContent = isDark() ? "Light" : "Dark";
}

function start() {
  the("ask").addEventListener("submit", onSubmit);
  the("reset").addEventListener("click", () => go({ ...state, settings: {} }));
  the("theme").addEventListener("click", switchTheme);
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", onDrop);
  for (const cancel of document.querySelectorAll("dialog button[type=button]"))
    cancel.addEventListener("click", () => /** @type {any} */ (cancel.closest("dialog")).close(""));
  addEventListener("popstate", () => {
    state = read(location.search);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  showTheme();
  if (!state.query && state.view !== "documents") the("query").focus();
  show();
}

start();
