// Adding documents: files to drop, text to paste, and what became of each record.

import { h } from "./dom.js";
import { ask, lines, Problem } from "./service.js";

const MAX_REJECTED_SHOWN = 200;

/** @typedef {import("./documents.js").Actions} Actions */

/** What is pasted and not stored yet; it outlives the view, which an error may make anew. */
const draft = { title: "", text: "" };

/**
 * Files to drop and text to paste, and what became of them.
 * @param {Actions} actions
 * @param {() => Promise<void>} added
 */
export function addView(actions, added) {
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
  title.value = draft.title;
  text.value = draft.text;
  const drop = h(
    "div",
    { class: "drop" },
    picker,
    h("label", { for: "files" }, "Choose files"),
    h("span", {}, " or drop them anywhere on this page"),
    h("small", {}, "JSON, JSON Lines, CSV, Markdown, HTML, PDF, DOCX or text"),
  );
  /**
   * @param {{name: string, body: BodyInit, type?: string}[]} parts
   * @returns {Promise<boolean>} whether every record is stored now
   */
  async function add(parts) {
    let all = true;
    for (const part of parts) {
      try {
        all = (await addOne(part, takeOver.checked, results, actions)) && all;
      } catch (problem) {
        actions.patience.report(problem);
        return false;
      }
    }
    return all;
  }
  picker.addEventListener("change", async () => {
    const files = [...(picker.files ?? [])];
    picker.value = "";
    await add(files.map(asPart));
    await added();
  });
  const keep = () => Object.assign(draft, { title: title.value, text: text.value });
  paste.addEventListener("input", keep);
  let sending = false;
  paste.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sending) return; // a double click
    sending = true;
    const sent = text.value;
    const stored = await add([pasted(title.value.trim(), sent)]).finally(() => (sending = false));
    if (stored && text.value === sent) {
      paste.reset();
      keep();
    }
    await added();
  });
  drop.addEventListener("files", async (event) => {
    await add(/** @type {CustomEvent} */ (event).detail.map(asPart));
    await added();
  });
  return h(
    "section",
    { class: "add", "aria-label": "Add documents" },
    drop,
    h("details", { open: draft.text !== "" }, h("summary", {}, "Paste text"), paste),
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
function pasted(title, text) {
  const isJson = (/** @type {string} */ one) => {
    try {
      return JSON.parse(one) instanceof Object;
    } catch {
      return false;
    }
  };
  const name = title || "Pasted text";
  if (isJson(text)) return { name, body: text, type: "application/json" };
  if (isJson(text.trim().split("\n", 1)[0]))
    return { name, body: text, type: "application/x-ndjson" };
  return { name, body: JSON.stringify({ title, text }), type: "application/json" };
}

/**
 * Sends one file and shows what becomes of its records, while they are read.
 * @param {{name: string, body: BodyInit, type?: string}} part
 * @param {boolean} takeOver
 * @param {HTMLElement} results
 * @param {Actions} actions
 * @returns {Promise<boolean>} whether every record is stored now
 */
async function addOne(part, takeOver, results, actions) {
  const counts = { stored: 0, unchanged: 0, rejected: 0 };
  const progress = h("progress", { "aria-label": `Adding ${part.name}` });
  const said = h("span", {}, "sending");
  const rejected = h("ul", { class: "rejected" });
  const result = h(
    "div",
    { class: "result" },
    h("b", { dir: "auto" }, part.name),
    " ",
    said,
    progress,
    rejected,
  );
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
    const response = await actions.patience.patiently(() =>
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
    return counts.rejected === 0 && counts.stored + counts.unchanged > 0;
  } catch (problem) {
    const before = counts.stored > 0 ? `${said.textContent}, then it broke off: ` : "not added: ";
    said.textContent = `${before}${problem instanceof Error ? problem.message : problem}`;
    result.classList.add("failed");
    if (!(problem instanceof Problem) || problem.kind === "away") throw problem;
    actions.say(`${part.name}: ${said.textContent}`);
    return false;
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
