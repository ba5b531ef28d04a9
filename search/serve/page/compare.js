// Both orders side by side, with a line between a document's two places.

import { languageOf, scoreView } from "./answer.js";
import { h, svg } from "./dom.js";
import { arrow, inWords, moved } from "./text.js";

const FARTHEST = 8; // places from which on a line has its full colour

/**
 * @param {any} answer what /search gives with `before`
 * @param {(id: string) => string} href the address of a document
 * @returns {HTMLElement}
 */
export function compareView(answer, href) {
  const places = new Map(answer.before.map((/** @type {any} */ hit) => [hit.id, hit]));
  const left = column("First stage", answer.before, href, (hit) => firstScore(hit));
  const right = column(
    answer.reranked ? "Reranked" : "Not reranked",
    answer.hits,
    href,
    finalScore,
  );
  const kept = new Set(answer.hits.map((/** @type {any} */ hit) => hit.id));
  const risen = answer.hits.filter((/** @type {any} */ hit) => !places.has(hit.id));
  const dropped = answer.before.filter((/** @type {any} */ hit) => !kept.has(hit.id));
  if (risen.length > 0) left.append(h("p", { class: "beyond" }, "from further down"));
  if (dropped.length > 0) right.append(h("p", { class: "beyond" }, "no longer among these"));
  const lines = svg("svg", { "aria-hidden": "true", class: "lines" });
  const view = h("div", { class: "compare" }, left, lines, right);
  const draw = () => drawLines(view, lines, left, right, answer.hits, dropped);
  // Sizes are known once it stands in the page, and change with the window and the fonts.
  new ResizeObserver(draw).observe(view);
  for (const event of ["pointerover", "focusin"]) view.addEventListener(event, point);
  for (const event of ["pointerleave", "focusout"])
    view.addEventListener(event, () => show(view, null));
  return view;
}

/**
 * @param {string} name
 * @param {any[]} hits
 * @param {(id: string) => string} href
 * @param {(hit: any) => (Node | false)[] | Node} figures
 */
function column(name, hits, href, figures) {
  const rows = hits.map((hit) =>
    h(
      "li",
      { "data-id": hit.id },
      h("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
      h(
        "a",
        {
          href: href(hit.id),
          dir: "auto",
          lang: languageOf(hit.metadata),
          title: hit.passage,
          "data-hit": true,
        },
        hit.title || hit.id,
      ),
      h("span", { class: "figures" }, ...[figures(hit)].flat()),
    ),
  );
  return h("section", {}, h("h2", {}, name), h("ol", { "aria-label": name }, ...rows));
}

/** @param {any} hit */
function firstScore(hit) {
  return h(
    "span",
    { class: "score", title: "the first stage’s score" },
    hit.retrieval.score.toFixed(3),
  );
}

/** @param {any} hit */
function finalScore(hit) {
  const places = moved(hit);
  return [
    scoreView(hit),
    places !== null &&
      h(
        "span",
        { class: `move ${wayOf(places)}` },
        h("span", { "aria-hidden": "true" }, arrow(places)),
        h("span", { class: "unseen" }, inWords(places)),
      ),
  ];
}

/** @param {number} places */
function wayOf(places) {
  return places > 0 ? "up" : places < 0 ? "down" : "same";
}

/**
 * @param {HTMLElement} view
 * @param {SVGElement} lines
 * @param {HTMLElement} left
 * @param {HTMLElement} right
 * @param {any[]} hits
 * @param {any[]} dropped
 */
function drawLines(view, lines, left, right, hits, dropped) {
  const { top, width, height } = lines.getBoundingClientRect();
  if (!width) return;
  lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const from = middles(left, top);
  const to = middles(right, top);
  /** @type {(id: string, start: number, end: number, places: number | null, cut: boolean) => SVGElement} */
  const line = (id, start, end, places, cut) => {
    const half = width / 2;
    const path = svg("path", {
      "data-id": id,
      d: `M0 ${start}C${half} ${start} ${half} ${end} ${width} ${end}`,
      class: `${places === null ? "same" : wayOf(places)}${cut ? " cut" : ""}`,
    });
    path.style.setProperty("--far", String(Math.min(1, Math.abs(places ?? 0) / FARTHEST)));
    return path;
  };
  const kept = hits.map((hit) => {
    const start = from.get(hit.id);
    const end = /** @type {number} */ (to.get(hit.id));
    return line(hit.id, start ?? from.get("") ?? height, end, moved(hit), start === undefined);
  });
  // It fell at least so far.
  const gone = dropped.map((hit) =>
    line(hit.id, from.get(hit.id) ?? 0, to.get("") ?? height, hit.rank - hits.length - 1, true),
  );
  lines.replaceChildren(...gone, ...kept);
}

/**
 * The height of each row's middle, by its document; "" is the row below the others.
 * @param {HTMLElement} column
 * @param {number} top
 */
function middles(column, top) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const row of column.querySelectorAll("li, .beyond")) {
    const box = row.getBoundingClientRect();
    found.set(/** @type {HTMLElement} */ (row).dataset.id ?? "", (box.top + box.bottom) / 2 - top);
  }
  return found;
}

/** @param {Event} event */
function point(event) {
  const view = /** @type {HTMLElement} */ (event.currentTarget);
  const row = /** @type {Element} */ (event.target).closest("[data-id]");
  show(view, row instanceof HTMLElement ? (row.dataset.id ?? null) : null);
}

/**
 * Brings one document's two places and its line forward.
 * @param {HTMLElement} view
 * @param {string | null} id
 */
function show(view, id) {
  view.classList.toggle("pointing", id !== null);
  for (const part of view.querySelectorAll("[data-id]"))
    part.classList.toggle("shown", /** @type {HTMLElement} */ (part).dataset.id === id);
}
