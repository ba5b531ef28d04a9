// Text and numbers as people read them. Pure functions.

/** As in search/answer.py, which names the bands. */
const STRONG = 0.8;
const FAIR = 0.4;

/**
 * @param {number} probability 0–1
 * @returns {"strong" | "fair" | "weak"}
 */
export function band(probability) {
  return probability > STRONG ? "strong" : probability >= FAIR ? "fair" : "weak";
}

/**
 * A probability in percent. Only what is certain is 0% or 100%.
 * @param {number} probability 0–1
 */
export function percent(probability) {
  const rounded = Math.round(probability * 100);
  if (rounded === 100 && probability < 1) return ">99%";
  if (rounded === 0 && probability > 0) return "<1%";
  return `${rounded}%`;
}

/**
 * The service counts characters as Python does; JavaScript counts some of them twice.
 * @param {string} text
 * @param {[number, number]} span characters, end exclusive
 * @returns {[string, string, string]} what stands before, in and after the span
 */
export function split(text, [start, end]) {
  const characters = Array.from(text);
  return [
    characters.slice(0, start).join(""),
    characters.slice(start, end).join(""),
    characters.slice(end).join(""),
  ];
}

/**
 * What stands before, in and after the span, in about `size` characters cut at words.
 * @param {string} text
 * @param {[number, number] | null} span null: the beginning is shown
 * @param {number} size
 * @returns {{parts: [string, string, string], whole: boolean}}
 */
export function excerpt(text, span, size) {
  const parts = split(text, span ?? [0, 0]).map((part) => part.replace(/\s+/gu, " "));
  const best = firstWords(parts[1], size);
  const room = Math.max(0, size - best.length);
  // A third of the room leads up to the sentence, and more where little follows it.
  const before = lastWords(parts[0], Math.max(room / 3, room - parts[2].length));
  const after = firstWords(parts[2], Math.max(0, room - before.length));
  return { parts: [before, best, after], whole: before + best + after === parts.join("") };
}

const SLACK = 24; // where no space is near, as in Chinese, the text is cut between characters

/** @param {string} text @param {number} size */
function firstWords(text, size) {
  if (text.length <= size) return text;
  const cut = Array.from(text.slice(0, size)).slice(0, -1).join("");
  const space = cut.lastIndexOf(" ");
  return `${space > cut.length - SLACK ? cut.slice(0, space) : cut} …`;
}

/** @param {string} text @param {number} size */
function lastWords(text, size) {
  if (text.length <= size) return text;
  const cut = Array.from(text.slice(text.length - size))
    .slice(1)
    .join("");
  const space = cut.indexOf(" ");
  return `… ${space >= 0 && space < SLACK ? cut.slice(space + 1) : cut}`;
}

/**
 * A file's name with the folder it lies in.
 * @param {{file: string, line: number | null} | null} source
 * @param {{line: number | null, page: number | null, heading: string | null} | null} location
 * @returns {string} empty when nothing is known
 */
export function whereabouts(source, location) {
  const parts = [];
  if (source) {
    const file = source.file === "-" ? "standard input" : shortPath(source.file);
    const line = location?.line ?? source.line;
    parts.push(line === null || line === undefined ? file : `${file}:${line}`);
  }
  if (location?.page != null) parts.push(`page ${location.page}`);
  if (location?.heading) parts.push(location.heading);
  return parts.join(" · ");
}

/** The last two steps of a longer path. @param {string} path */
export function shortPath(path) {
  if (/^\w+:\/\//u.test(path)) return path; // an address is short enough, and says more whole
  const steps = path.split(/[/\\]/u).filter(Boolean);
  return steps.length > 2 ? `…/${steps.slice(-2).join("/")}` : path;
}

/**
 * The service's reasons stand in sentences of its own making; alone, they need both ends.
 * @param {string} text
 */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/u.test(whole) ? whole : `${whole}.`;
}

/** @param {number} count @param {string} thing */
export function counted(count, thing) {
  return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}

/**
 * How far the second stage moved a document, up being positive; null where it did not read it.
 * @param {{logit: number | null, rank: number, retrieval: {rank: number}}} hit
 */
export function moved(hit) {
  return hit.logit === null ? null : hit.retrieval.rank - hit.rank;
}

/** @param {number} places */
export function arrow(places) {
  return places > 0 ? `▲${places}` : places < 0 ? `▼${-places}` : "=";
}

/** @param {number} places */
export function inWords(places) {
  if (places === 0) return "not moved";
  return `moved ${places > 0 ? "up" : "down"} by ${Math.abs(places)}`;
}

/** @param {Record<string, number>} timings milliseconds of each stage */
export function milliseconds(timings) {
  return Object.entries(timings).map(
    ([stage, ms]) => `${stage} ${ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en")} ms`,
  );
}
