// The page: one state, read from the address, and the view of it.

import { read, write } from "./address.js";
import { answerView, remarks, howMade } from "./answer.js";
import { compareView } from "./compare.js";
import { controlsView } from "./controls.js";
import { documentsView, documentView } from "./documents.js";
import { h, the } from "./dom.js";
import { onKey } from "./keyboard.js";
import { notice, Patience } from "./patience.js";
import { askJson, search } from "./service.js";
import { counted, shortPath } from "./text.js";

/** @typedef {import("./address.js").State} State */

const NAME = "Two-stage search";
const DEBOUNCE_MS = 150;
/** Marks the entries of the history behind which there is another one of this page. */
const HERE = "here";

/** @type {State} */
let state = read(location.search);
/** @type {any} What /status gave last. */
let status = null;
let running = new AbortController();
let pause = 0;
/** The query that the field was last given; what people type since then is left alone. */
let shownQuery = "";

const patience = new Patience(show, () => (status = null));

const actions = {
  filter: addFilter,
  href: (/** @type {string} */ id) => write({ ...state, view: "documents", id }),
  patience,
  say,
  refresh,
  back,
  goToAll: () => go({ ...state, view: "documents", id: null }),
};

// --- from state to page

/**
 * Goes to another state, as a link does.
 * @param {State} next
 */
function go(next) {
  if (!next.query) status = null; // the number of documents is shown, and may have changed
  state = next;
  history.pushState(HERE, "", write(state));
  scrollTo(0, 0);
  show();
}

/** Shows the state: the form at once, the rest when the service has answered. */
async function show() {
  clearTimeout(pause);
  patience.forget();
  running.abort();
  running = new AbortController();
  const { signal } = running;
  showForm();
  const slow = setTimeout(() => the("main").classList.add("waiting"), 300);
  try {
    status ??= await patience.patiently(() => askJson("status", { signal }));
    showControls();
    const content = await view(signal);
    if (signal.aborted) return;
    notice("");
    the("main").replaceChildren(...content);
  } catch (problem) {
    if (!signal.aborted) patience.report(problem);
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
    return state.id === null
      ? documentsView(status, actions)
      : documentView(state.id, status, actions);
  if (!state.query.trim()) return [welcome()];
  const comparing = state.view === "compare";
  const answer = await patience.patiently(
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
  if (answer.hits.length === 0 && status.store.documents === 0) return [welcome()];
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
  if (query !== shownQuery) the("query").value = shownQuery = query;
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
    h(
      "button",
      { type: "button", onclick: remove, "aria-label": `Remove the filter ${filter}` },
      h("bdi", {}, filter),
      h("span", { "aria-hidden": "true" }, "×"),
    ),
  );
}

/** The controls are made anew unless one of them is being moved. */
function showControls() {
  if (the("controls").contains(document.activeElement)) return;
  the("controls").replaceChildren(
    ...controlsView(status.defaults, state.settings, (settings) => {
      state = { ...state, settings };
      history.replaceState(history.state, "", write(state));
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
    status = await patience.patiently(() => askJson("status"));
    the("about").textContent = about();
  } catch (problem) {
    patience.report(problem);
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

/** @param {string} text */
function say(text) {
  the("said").textContent = text;
}

// --- what people do

function onSubmit(/** @type {Event} */ event) {
  event.preventDefault();
  const view = state.view === "documents" ? "search" : state.view;
  shownQuery = the("query").value.trim();
  go({ ...state, view, query: shownQuery, id: null });
}

/** Links to other states of this page do not load it anew. */
function onClick(/** @type {MouseEvent} */ event) {
  const link = /** @type {Element} */ (event.target).closest("a");
  const other =
    event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!link?.getAttribute("href")?.startsWith("?") || other) return;
  event.preventDefault();
  go(read(link.search));
  (state.query || state.view === "documents" ? the("main") : the("query")).focus();
}

/** From a document to where it was opened, else to the field. */
function leave() {
  if (state.view !== "documents" || state.id === null) the("query").focus();
  else if (history.state === HERE) history.back();
  else go(read(back().href));
}

/** Back or forward; the document that was open is the hit that has the focus. */
async function onPopState() {
  const { id } = state;
  state = read(location.search);
  await show();
  if (id === null || state.id !== null) return;
  const links = /** @type {NodeListOf<HTMLAnchorElement>} */ (
    document.querySelectorAll("[data-hit]")
  );
  [...links].find((link) => read(link.search).id === id)?.focus();
}

function onDragOver(/** @type {DragEvent} */ event) {
  if (!event.dataTransfer?.types.includes("Files")) return; // text, for a field
  event.preventDefault();
  document.body.classList.add("dragging");
}

/** Files dropped anywhere are added. */
async function onDrop(/** @type {DragEvent} */ event) {
  const dropped = [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === "file");
  if (dropped.length === 0) return;
  event.preventDefault();
  document.body.classList.remove("dragging");
  // A folder cannot be sent; a file that is no file of the disk has no entry.
  const files = dropped
    .filter((item) => !item.webkitGetAsEntry()?.isDirectory)
    .flatMap((item) => item.getAsFile() ?? []);
  if (files.length < dropped.length)
    notice("A folder was left out: open it, and drop the files in it.");
  if (files.length === 0) return;
  if (state.view !== "documents" || state.id !== null) {
    state = { ...state, view: "documents", id: null };
    history.pushState(HERE, "", write(state));
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
  document.addEventListener("keydown", (event) => onKey(event, leave));
  document.addEventListener("dragover", onDragOver);
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", onDrop);
  for (const cancel of document.querySelectorAll("dialog button[type=button]"))
    cancel.addEventListener("click", () => /** @type {any} */ (cancel.closest("dialog")).close(""));
  addEventListener("popstate", onPopState);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  showTheme();
  if (!state.query && state.view !== "documents") the("query").focus();
  show();
}

start();
