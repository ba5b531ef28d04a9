// The settings to play with: what differs from the service's own is kept in the address.

import { h } from "./dom.js";

/** @typedef {import("./address.js").Settings} Settings */

/**
 * A slider; `off` is what its right end says when the setting can be null.
 * @typedef {{name: string, label: string, hint: string, min: number, max: number, step: number,
 *     off?: string, plain?: number}} Slider
 */

/** @type {Slider[]} */
const SLIDERS = [
  {
    name: "alpha",
    label: "Alpha",
    hint: "0: words alone, 1: vectors alone",
    min: 0,
    max: 1,
    step: 0.05,
  },
  {
    name: "candidates",
    label: "Candidates (K)",
    hint: "passages that the second stage reads",
    min: 1,
    max: 100,
    step: 1,
  },
  {
    name: "blend",
    label: "Blend",
    hint: "weight of the first stage; 0: none",
    min: 0,
    max: 3,
    step: 0.1,
    plain: 1,
  },
  {
    name: "gate",
    label: "Gate",
    hint: "not reranked from this lead on",
    min: 0,
    max: 8,
    step: 0.1,
    off: "never",
  },
  {
    name: "deadline_ms",
    label: "Deadline",
    hint: "milliseconds for an answer",
    min: 20,
    max: 2000,
    step: 20,
    off: "none",
  },
  {
    name: "threshold",
    label: "Threshold",
    hint: "the least probability to show",
    min: 0,
    max: 1,
    step: 0.05,
  },
  { name: "limit", label: "Answers", hint: "documents shown, at most", min: 1, max: 50, step: 1 },
];
const RETRIEVALS = { hybrid: "both", near_text: "vectors", bm25: "words" };

/**
 * All controls, showing `settings` over `defaults`.
 * @param {Settings} defaults the service's own
 * @param {Settings} settings those that differ
 * @param {(settings: Settings) => void} changed gets those that differ now
 * @returns {HTMLElement[]}
 */
export function controlsView(defaults, settings, changed) {
  const now = { ...settings };
  const alpha = sliderView(SLIDERS[0], defaults, now, set);
  /** @param {string} name @param {number | string | boolean | null} value */
  function set(name, value) {
    if (value === (defaults[name] ?? null)) delete now[name];
    else now[name] = value;
    updateAlpha();
    changed({ ...now });
  }
  function updateAlpha() {
    const slider = /** @type {HTMLInputElement} */ (alpha.querySelector("input"));
    slider.disabled = (now.retrieval ?? defaults.retrieval) !== "hybrid";
  }
  updateAlpha();
  const others = SLIDERS.slice(1).map((slider) => sliderView(slider, defaults, now, set));
  return [
    h(
      "div",
      { class: "stages" },
      retrievalView(now.retrieval ?? defaults.retrieval, set),
      rerankView(now.rerank ?? defaults.rerank ?? true, set),
    ),
    alpha,
    ...others,
  ];
}

/**
 * @param {unknown} chosen
 * @param {(name: string, value: string) => void} set
 */
function retrievalView(chosen, set) {
  const choices = Object.entries(RETRIEVALS).map(([value, label]) =>
    h(
      "label",
      {},
      h("input", {
        type: "radio",
        name: "retrieval",
        value,
        checked: value === chosen,
        onchange: () => set("retrieval", value),
      }),
      h("span", {}, label),
    ),
  );
  return h("fieldset", { class: "choice" }, h("legend", {}, "First stage"), ...choices);
}

/**
 * @param {unknown} on
 * @param {(name: string, value: boolean) => void} set
 */
function rerankView(on, set) {
  const box = /** @type {HTMLInputElement} */ (
    h("input", {
      type: "checkbox",
      checked: Boolean(on),
      onchange: () => set("rerank", box.checked),
    })
  );
  return h("label", { class: "check" }, box, h("span", {}, "Second stage: rerank"));
}

/**
 * @param {Slider} slider
 * @param {Settings} defaults
 * @param {Settings} settings
 * @param {(name: string, value: number | null) => void} set
 */
function sliderView(slider, defaults, settings, set) {
  const { name, off, step, plain } = slider;
  const value = name in settings ? settings[name] : (defaults[name] ?? null);
  // A link may hold a larger value than the slider has by itself; past the end is "off".
  const most = Math.max(slider.max, Number(value ?? 0));
  const end = off ? most + step : most;
  const shown = value ?? (off ? end : (plain ?? 0));
  const output = h("output", { for: `set-${name}` });
  const input = /** @type {HTMLInputElement} */ (
    h("input", {
      id: `set-${name}`,
      type: "range",
      min: slider.min,
      max: end,
      step: isMultiple(Number(shown), step) ? step : "any",
      value: shown,
      "aria-describedby": `hint-${name}`,
    })
  );
  const read = () => {
    const number = Number(input.value);
    return off && number > most ? null : Number(number.toFixed(3));
  };
  const say = () => {
    const now = read();
    output.textContent = now === null ? /** @type {string} */ (off) : String(now);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    say();
    const now = read();
    const own = (defaults[name] ?? null) === null && now === plain;
    set(name, own ? null : now);
  });
  say();
  return h(
    "div",
    { class: "control" },
    h("label", { for: `set-${name}` }, slider.label),
    output,
    input,
    h("small", { id: `hint-${name}` }, slider.hint),
  );
}

/** @param {number} value @param {number} step */
function isMultiple(value, step) {
  return Math.abs(value / step - Math.round(value / step)) < 1e-6;
}
