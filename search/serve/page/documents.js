// What is stored: listing, reading, adding and deleting documents.

import { languageOf, metaView } from "./answer.js";
import { addView } from "./adding.js";
import { asked, h, the } from "./dom.js";
import { ask, askJson, Problem } from "./service.js";
import { counted, whereabouts } from "./text.js";

const PAGE = 50;

/**
 * @typedef {object} Actions
 * @property {(filter: string) => void} filter
 * @property {(id: string) => string} href
 * @property {import("./patience.js").Patience} patience
 * @property {(text: string) => void} say for those who do not see the page
 * @property {() => Promise<any>} refresh reads the service's status anew
 * @property {() => {href: string, name: string}} back where a document was opened from
 * @property {() => void} goToAll leaves a document for the list of all
 */

/** Ids are often whole paths; encoded, none of their steps is taken for one of the address. */
function path(/** @type {string} */ id) {
  return `documents/${encodeURIComponent(id)}`;
}

/**
 * The list of all documents, below what adds some.
 * @param {any} status what /status gives
 * @param {Actions} actions
 * @returns {Promise<HTMLElement[]>}
 */
export async function documentsView(status, actions) {
  const list = h("ul", { class: "documents", "aria-label": "Documents" });
  const more = h("button", { type: "button", hidden: true, onclick: showMore }, "Show more");
  const total = h("p", { class: "total" });
  /** @type {symbol | null} The newest request, until it is answered. */
  let asking = null;
  /**
   * Lists what comes after the last row, or all from the beginning.
   * @param {boolean} anew
   */
  async function next(anew = false) {
    const last = anew ? null : /** @type {HTMLElement | null} */ (list.lastElementChild);
    const after = last?.dataset.id;
    const query = new URLSearchParams({ limit: String(PAGE), ...(after && { after }) });
    const mine = (asking = Symbol("request"));
    try {
      const page = await actions.patience.patiently(() => askJson(`documents?${query}`));
      if (mine !== asking) return; // something was added meanwhile, and the list is begun anew
      if (anew) list.replaceChildren();
      for (const one of page.documents) list.append(rowView(one, status, actions, recount));
      more.hidden = page.next === null;
      recount(page.total);
    } finally {
      if (mine === asking) asking = null;
    }
  }
  async function showMore() {
    if (asking === null) await next().catch(report); // else it was a double click
  }
  function report(/** @type {unknown} */ problem) {
    actions.patience.report(problem);
  }
  /** @param {number} count */
  function recount(count) {
    total.dataset.count = String(count);
    total.textContent = count === 0 ? "Nothing is stored yet." : `${counted(count, "document")}.`;
  }
  async function again() {
    await next(true).catch(report);
    await actions.refresh();
  }
  await next();
  return [
    h("h1", {}, "Documents"),
    status.may_write
      ? addView(actions, again)
      : h(
          "p",
          { class: "remark" },
          "The key in use may read only: documents cannot be added or deleted.",
          h(
            "button",
            { class: "plain", type: "button", onclick: () => actions.patience.changeKey() },
            "Use another key",
          ),
        ),
    total,
    list,
    more,
  ];
}

/**
 * @param {any} document
 * @param {any} status
 * @param {Actions} actions
 * @param {(count: number) => void} recount
 */
function rowView(document, status, actions, recount) {
  const about = [whereabouts(document.source, null), counted(document.passages, "passage")];
  const row = h(
    "li",
    { "data-id": document.id },
    h(
      "a",
      { href: actions.href(document.id), dir: "auto", "data-hit": true },
      document.title || document.id,
    ),
    h(
      "span",
      { class: "about" },
      h("bdi", {}, document.id),
      ` · ${about.filter(Boolean).join(" · ")}`,
    ),
    status.may_write && deleteButton(document, actions, gone),
  );
  function gone() {
    const total = /** @type {HTMLElement} */ (window.document.querySelector(".total"));
    recount(Number(total.dataset.count) - 1);
    const near = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    /** @type {HTMLElement} */ (near?.querySelector("a") ?? the("main")).focus();
    actions.refresh();
  }
  return row;
}

/**
 * One document, passage by passage.
 * @param {string} id
 * @param {any} status
 * @param {Actions} actions
 * @returns {Promise<HTMLElement[]>}
 */
export async function documentView(id, status, actions) {
  const document = await actions.patience.patiently(() => askJson(path(id)));
  const lang = languageOf(document.metadata);
  const passages = document.passages.map((/** @type {any} */ passage) => {
    const location = whereabouts(null, passage.location);
    return h(
      "li",
      {},
      location && h("p", { class: "about", dir: "auto" }, location),
      h("p", { class: "passage whole", dir: "auto", lang }, passage.text),
    );
  });
  const file = document.source?.file;
  return [
    h("p", { class: "about" }, h("a", { href: actions.back().href }, `← ${actions.back().name}`)),
    h("h1", { dir: "auto", lang }, document.title || document.id),
    h(
      "div",
      { class: "origin" },
      h("p", {}, "id ", h("bdi", {}, document.id)),
      file && file !== document.id && h("p", {}, "from ", h("bdi", {}, file)),
      metaView({ ...document, source: null }, actions),
    ),
    h("ol", { class: "passages", "aria-label": "Passages" }, ...passages),
    status.may_write && deleteButton(document, actions, actions.goToAll),
  ].filter(Boolean);
}

/**
 * @param {any} document
 * @param {Actions} actions
 * @param {() => void} gone
 */
function deleteButton(document, actions, gone) {
  const title = document.title || document.id;
  return h(
    "button",
    { class: "plain delete", type: "button", "aria-label": `Delete ${title}`, onclick: remove },
    "Delete",
  );
  async function remove() {
    the("ask-delete-what").textContent = title;
    if ((await asked(the("ask-delete"))) !== "delete") return;
    try {
      await actions.patience.patiently(() => ask(path(document.id), { method: "DELETE" }));
    } catch (problem) {
      if (!(problem instanceof Problem && problem.status === 404))
        return actions.patience.report(problem);
    }
    actions.say(`Deleted ${title}`);
    gone();
  }
}
