// What is stored: listing, reading, adding and deleting documents.

import { languageOf, metaView } from "./answer.js";
import { h, the } from "./dom.js";
import { ask, askJson, lines, Problem } from "./service.js";
import { counted, whereabouts } from "./text.js";

const PAGE = 50;
const MAX_REJECTED_SHOWN = 200;

/**
 * @typedef {object} Actions
 * @property {(filter: string) => void} filter
 * @property {(id: string) => string} href
 * @property {<T>(action: () => Promise<T>) => Promise<T>} patiently waits and asks for a key where
 *     the service wants that
 * @property {(problem: unknown) => void} report shows what went wrong
 * @property {(text: string) => void} say for those who do not see the page
 * @property {() => Promise<any>} refresh reads the service's status anew
 * @property {() => {href: string, name: string}} back where a document was opened from
 * @property {() => void} changeKey
 * @property {() => void} goToAll leaves a document for the list of all
 */

/** @param {string} id */
function path(id) {
  return `documents/${id.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * The list of all documents, below what adds some.
 * @param {any} status what /status gives
 * @param {Actions} actions
 * @returns {Promise<HTMLElement[]>}
 */
export async function documentsView(status, actions) {
  const list = h("ul", { class: "documents", "aria-label": "Documents" });
  const more = h("button", { type: "button", hidden: true, onclick: next }, "Show more");
  const total = h("p", { class: "total" });
  /** @type {string | null} */
  let after = null;
  /** How far the list goes; read again after something was added. */
  async function next() {
    try {
      const query = new URLSearchParams({ limit: String(PAGE), ...(after !== null && { after }) });
      const page = await actions.patiently(() => askJson(`documents?${query}`));
      for (const document of page.documents) list.append(rowView(document, status, actions, recount));
      after = page.next;
      more.hidden = after === null;
      recount(page.total);
    } catch (problem) {
      actions.report(problem);
    }
  }
  /** @param {number} count */
  function recount(count) {
    total.dataset.count = String(count);
    total.textContent = count === 0 ? "Nothing is stored yet." : `${counted(count, "document")}.`;
  }
  async function again() {
    list.replaceChildren();
    after = null;
    await next();
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
          h("button", { class: "plain", type: "button", onclick: actions.changeKey }, "Use another key"),
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
    {},
    h("a", { href: actions.href(document.id), dir: "auto", "data-hit": true }, document.title || document.id),
    h("span", { class: "about" }, h("bdi", {}, document.id), ` · ${about.filter(Boolean).join(" · ")}`),
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
  const document = await actions.patiently(() => askJson(path(id)));
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
      await actions.patiently(() => ask(path(document.id), { method: "DELETE" }));
    } catch (problem) {
      if (!(problem instanceof Problem && problem.status === 404)) return actions.report(problem);
    }
    actions.say(`Deleted ${title}`);
    gone();
  }
}

/**
 * What a dialog was left with.
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<string>} the button's value; "" for Escape
 */
export function asked(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/**
 * Files to drop and text to paste, and what became of them.
 * @param {Actions} actions
 * @param {() => Promise<void>} added
 */
function addView(actions, added) {
  const picker = /** @type {HTMLInputElement} */ (
    h("input", { id: "files", type: "file", multiple: true, class: "unseen" })
  );
  const takeOver = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
  const results = h("div", { class: "results" });
  const title = /** @type {HTMLInputElement} */ (h("input", { id: "paste-title", dir: "auto" }));
  const text = /** @type {HTMLTextAreaElement} */ (
    h("textarea", { id: "paste-text", rows: 6, dir: "auto", required: true })
  );
  const paste = /** @type {HTMLFormElement} */ (
    h(
      "form",
      { class: "paste" },
      h("label", { for: "paste-title" }, "Title"),
      title,
      h("label", { for: "paste-text" }, "Text, or records as JSON or JSON Lines"),
      text,
      h("button", { type: "submit" }, "Add"),
    )
  );
  const drop = h(
    "div",
    { class: "drop" },
    picker,
    h("label", { for: "files" }, "Choose files"),
    h("span", {}, " or drop them anywhere on this page"),
    h("small", {}, "JSON, JSON Lines, CSV, Markdown, HTML, PDF, DOCX or text"),
  );
  /** @param {{name: string, body: BodyInit, type?: string}[]} parts */
  async function add(parts) {
    for (const part of parts) {
      try {
        await addOne(part, takeOver.checked, results, actions);
      } catch (problem) {
        actions.report(problem);
        break;
      }
    }
    await added();
  }
  picker.addEventListener("change", async () => {
    const files = [...(picker.files ?? [])];
    picker.value = "";
    await add(files.map(asPart));
  });
  paste.addEventListener("submit", async (event) => {
    event.preventDefault();
    const part = pasted(title.value.trim(), text.value);
    paste.reset();
    await add([part]);
  });
  drop.addEventListener("files", (event) => add(/** @type {CustomEvent} */ (event).detail.map(asPart)));
  return h(
    "section",
    { class: "add", "aria-label": "Add documents" },
    drop,
    h("details", {}, h("summary", {}, "Paste text"), paste),
    h(
      "label",
      { class: "take-over" },
      takeOver,
      h("span", {}, "Replace documents of the same id that came from elsewhere"),
    ),
    results,
  );
}

/** @param {File} file */
function asPart(file) {
  const form = new FormData();
  form.append("files", file, file.name);
  return { name: file.name, body: form };
}

/**
 * Pasted records as they are; other text becomes one document.
 * @param {string} title
 * @param {string} text
 */
export function pasted(title, text) {
  const isJson = (/** @type {string} */ one) => {
    try {
      return JSON.parse(one) instanceof Object;
    } catch {
      return false;
    }
  };
  const name = title || "Pasted text";
  if (isJson(text)) return { name, body: text, type: "application/json" };
  if (isJson(text.trim().split("\n", 1)[0])) return { name, body: text, type: "application/x-ndjson" };
  return { name, body: JSON.stringify({ title, text }), type: "application/json" };
}

/**
 * Sends one file and shows what becomes of its records, while they are read.
 * @param {{name: string, body: BodyInit, type?: string}} part
 * @param {boolean} takeOver
 * @param {HTMLElement} results
 * @param {Actions} actions
 */
async function addOne(part, takeOver, results, actions) {
  const counts = { stored: 0, unchanged: 0, rejected: 0 };
  const progress = h("progress", { "aria-label": `Adding ${part.name}` });
  const said = h("span", {}, "sending");
  const rejected = h("ul", { class: "rejected" });
  const result = h("div", { class: "result" }, h("b", { dir: "auto" }, part.name), " ", said, progress, rejected);
  results.prepend(result);
  const tell = () => {
    said.textContent = Object.entries(counts)
      .filter(([name, count]) => count > 0 || name === "stored")
      .map(([name, count]) => `${count.toLocaleString("en")} ${name}`)
      .join(", ");
  };
  try {
    const headers = part.type ? { "Content-Type": part.type } : undefined;
    const query = new URLSearchParams({
      ...(takeOver && { take_over: "true" }),
      ...(part.type && { name: part.name }),
    });
    const response = await actions.patiently(() =>
      ask(`documents?${query}`, { method: "POST", body: part.body, headers }),
    );
    let finished = false;
    for await (const line of lines(response)) {
      if (line.summary) {
        finished = true;
        Object.assign(counts, onlyCounts(line.summary));
        if (line.summary.problem) throw new Problem("failed", line.summary.problem);
      } else {
        counts[/** @type {keyof typeof counts} */ (line.status)] += 1;
        if (line.status === "rejected") showRejected(rejected, counts.rejected, line);
      }
      tell();
    }
    if (!finished) throw new Problem("away", "the service’s answer broke off");
    actions.say(`${part.name}: ${said.textContent}`);
  } catch (problem) {
    const before = counts.stored > 0 ? `${said.textContent}, then it broke off: ` : "not added: ";
    said.textContent = `${before}${problem instanceof Error ? problem.message : problem}`;
    result.classList.add("failed");
    if (!(problem instanceof Problem) || problem.kind === "away") throw problem;
    actions.say(`${part.name}: ${said.textContent}`);
  } finally {
    progress.remove();
  }
}

/** @param {{stored: number, unchanged: number, rejected: number}} summary */
function onlyCounts({ stored, unchanged, rejected }) {
  return { stored, unchanged, rejected };
}

/**
 * @param {HTMLElement} list
 * @param {number} count
 * @param {any} line
 */
function showRejected(list, count, line) {
  if (count > MAX_REJECTED_SHOWN) {
    const rest = list.querySelector(".rest") ?? list.appendChild(h("li", { class: "rest" }));
    rest.textContent = `and ${(count - MAX_REJECTED_SHOWN).toLocaleString("en")} more`;
    return;
  }
  const which = [line.location, line.id].filter(Boolean).join(", ");
  list.append(h("li", {}, which && h("bdi", {}, which), which && ": ", line.reason));
}
