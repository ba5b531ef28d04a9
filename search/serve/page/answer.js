// An answer: its hits, how they were found, and how long that took.

import { filterOn } from "./address.js";
import { h } from "./dom.js";
import {
  arrow,
  band,
  counted,
  excerpt,
  inWords,
  milliseconds,
  moved,
  percent,
  sentence,
  split,
  whereabouts,
} from "./text.js";

const EXCERPT_CHARACTERS = 380;
const OTHER_EXCERPT_CHARACTERS = 200;

/**
 * @typedef {object} Actions
 * @property {(filter: string) => void} filter adds a filter
 * @property {(id: string) => string} href the address of a document
 */

/**
 * The whole answer.
 * @param {any} answer what /search gives
 * @param {Actions} actions
 * @returns {HTMLElement[]}
 */
export function answerView(answer, actions) {
  const hits = answer.hits.map((/** @type {any} */ hit) => hitView(hit, actions));
  const list = h("ol", { class: "hits", "aria-label": "Answers" }, ...hits);
  return [...remarks(answer), ...(hits.length > 0 ? [list] : []), howMade(answer)];
}

/**
 * What a reader should know before the hits.
 * @param {any} answer
 * @returns {HTMLElement[]}
 */
export function remarks(answer) {
  const found = [];
  if (answer.reranked === "partial")
    found.push(
      h("p", { class: "remark warning" }, sentence(`Only partly reranked: ${answer.reason}`)),
    );
  else if (!answer.reranked && answer.hits.length > 0)
    found.push(
      h(
        "p",
        { class: answer.failed ? "remark warning" : "remark" },
        sentence(`This is the first stage’s order, not reranked: ${answer.reason}`),
      ),
    );
  for (const note of answer.notes)
    found.push(h("p", { class: "remark warning" }, sentence(`Note: ${note}`)));
  if (answer.hint)
    found.push(h("p", { class: "remark nothing" }, sentence(`Nothing found: ${answer.hint}`)));
  return found;
}

/**
 * Milliseconds of each stage, and the model that ran.
 * @param {any} answer
 */
export function howMade(answer) {
  const { name, device, precision, engine } = answer.model;
  const model = name && `${name} on ${device}${precision ? `, ${precision}` : ""} (${engine})`;
  const read = answer.scored ? `${counted(answer.scored, "passage")} read` : null;
  const parts = [...milliseconds(answer.timings_ms), read, model].filter(Boolean);
  return h("ul", { class: "made", "aria-label": "How this answer was made" }, ...items(parts));
}

/** @param {string[]} parts */
function items(parts) {
  return parts.map((part) => h("li", {}, part));
}

/**
 * @param {any} hit
 * @param {Actions} actions
 */
function hitView(hit, actions) {
  const language = languageOf(hit.metadata);
  return h(
    "li",
    { class: "hit" },
    h("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
    h(
      "h2",
      { dir: "auto", lang: language },
      h("a", { href: actions.href(hit.id), "data-hit": true }, hit.title || hit.id),
    ),
    h("div", { class: "figures" }, scoreView(hit), moveView(hit)),
    passageView(hit, language),
    othersView(hit, language),
    metaView(hit, actions),
    copiesView(hit.also_in, actions),
  );
}

/** The probability as a bar with its band, or the first stage's score. @param {any} hit */
export function scoreView(hit) {
  if (hit.probability === null)
    return h("span", { class: "score" }, "score ", h("b", {}, hit.retrieval.score.toFixed(3)));
  const name = band(hit.probability);
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  bar.style.setProperty("--share", String(hit.probability));
  return h(
    "span",
    { class: `score ${name}`, title: `probability ${hit.probability.toFixed(4)}` },
    bar,
    h("b", {}, percent(hit.probability)),
    " ",
    h("span", { class: "band" }, name),
  );
}

/** Where the first stage had it. @param {any} hit */
function moveView(hit) {
  const places = moved(hit);
  if (places === null) return null;
  const way = places > 0 ? "up" : places < 0 ? "down" : "same";
  return h(
    "span",
    { class: "move" },
    h("span", { class: way, "aria-hidden": "true" }, arrow(places)),
    h("span", { class: "unseen" }, `${inWords(places)}, `),
    ` was ${hit.retrieval.rank}`,
  );
}

/**
 * The passage around the sentence that decides; the whole of it on request.
 * @param {any} hit
 * @param {string | null} language
 */
function passageView(hit, language) {
  const { parts, whole } = excerpt(hit.passage, hit.highlight, EXCERPT_CHARACTERS);
  const text = h("p", { class: "passage", dir: "auto", lang: language }, ...marked(parts));
  if (whole) return text;
  const more = h(
    "button",
    { class: "more", type: "button", "aria-expanded": "false", onclick: toggle },
    "more",
  );
  text.append(" ", more);
  function toggle() {
    const open = more.getAttribute("aria-expanded") === "false";
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "less" : "more";
    text.classList.toggle("whole", open);
    const shown = open ? split(hit.passage, hit.highlight ?? [0, 0]) : parts;
    text.replaceChildren(...marked(shown), " ", more);
    more.focus();
  }
  return text;
}

/** @param {[string, string, string]} parts */
function marked([before, best, after]) {
  return best ? [before, h("mark", {}, best), after] : [before, after];
}

/**
 * The document's other good passages.
 * @param {any} hit
 * @param {string | null} language
 */
function othersView(hit, language) {
  const others = hit.passages ?? [];
  if (others.length === 0) return null;
  return h(
    "details",
    { class: "others" },
    h("summary", {}, `${counted(others.length, "more passage")} of this document`),
    ...others.map((/** @type {any} */ other) =>
      h(
        "p",
        { class: "passage", dir: "auto", lang: language },
        excerpt(other.passage, null, OTHER_EXCERPT_CHARACTERS).parts.join(""),
      ),
    ),
  );
}

/**
 * Source and metadata; a value is a button that filters on it.
 * @param {any} document
 * @param {Actions} actions
 */
export function metaView(document, actions) {
  const location = whereabouts(document.source, document.location ?? null);
  return h(
    "ul",
    { class: "meta", "aria-label": "Source and metadata" },
    location && h("li", { class: "source", dir: "auto", title: document.source?.file }, location),
    ...Object.entries(document.metadata).flatMap(([field, value]) =>
      [value].flat().map((one) => h("li", {}, valueView(field, one, actions))),
    ),
  );
}

/**
 * @param {string} field
 * @param {string | number | boolean} value
 * @param {Actions} actions
 */
function valueView(field, value, actions) {
  const filter = filterOn(field, value);
  const label = [
    h("span", { class: "field", dir: "auto" }, field),
    " ",
    h("bdi", {}, String(value)),
  ];
  if (filter === null) return h("span", { class: "value" }, ...label);
  return h(
    "button",
    {
      class: "value",
      type: "button",
      title: `Show only documents with ${filter}`,
      onclick: () => actions.filter(filter),
    },
    ...label,
  );
}

/**
 * The other documents in which the same passage stands.
 * @param {any[]} copies
 * @param {Actions} actions
 */
function copiesView(copies, actions) {
  if (!copies?.length) return null;
  const links = copies.flatMap((copy, i) => [
    i > 0 && ", ",
    h("a", { href: actions.href(copy.id), dir: "auto" }, copy.title || copy.id),
  ]);
  return h("p", { class: "copies" }, "The same passage is in ", ...links, ".");
}

/**
 * A document's own word for its language: fonts and line ends differ by it.
 * @param {Record<string, unknown>} metadata
 */
export function languageOf(metadata) {
  const named = metadata.language ?? metadata.lang;
  return typeof named === "string" && /^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/u.test(named)
    ? named
    : null;
}
