// Keys: / to the field, arrows between the hits, Escape back.

import { the } from "./dom.js";

/**
 * What a key does; the browser's own keys stay as they are.
 * @param {KeyboardEvent} event
 * @param {() => void} leave goes back from a document, or else to the field
 */
export function onKey(event, leave) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("dialog")) return;
  const typing = target.matches("textarea, input:not([type=radio], [type=checkbox], [type=range])");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    the("query").focus();
    the("query").select();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !isControl(target)) {
    if (moveFocus(target, event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
  } else if (
    (event.key === "ArrowLeft" || event.key === "ArrowRight") &&
    target.closest(".compare")
  ) {
    otherPlace(target)?.focus();
  } else if (event.key === "Escape" && !typing) {
    leave();
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
  const here = hits.indexOf(
    /** @type {HTMLElement} */ (from.closest("li")?.querySelector("[data-hit]")),
  );
  const next =
    here < 0 ? (step > 0 ? hits[0] : null) : here + step < 0 ? the("query") : hits[here + step];
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
