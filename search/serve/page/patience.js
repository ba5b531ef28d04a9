// When the service does not answer as hoped: keys, waiting, and what people are told.

import { asked, h, the } from "./dom.js";
import { keys, Problem } from "./service.js";
import { sentence } from "./text.js";

const AGAIN_SECONDS = 3;
const MAX_WAITS = 5;

export class Patience {
  #watching = new AbortController();

  /**
   * @param {() => void} again shows the page anew
   * @param {() => void} keyChanged what may be done differs by key
   */
  constructor(again, keyChanged) {
    this.again = again;
    this.keyChanged = keyChanged;
  }

  /**
   * The action's result; asks for a key and waits where the service wants that.
   * @template T
   * @param {() => Promise<T>} action
   * @param {AbortSignal} [signal]
   * @returns {Promise<T>}
   */
  async patiently(action, signal) {
    for (let waits = 0; ;) {
      try {
        return await action();
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        if (problem.kind === "key" && (await this.#askKey(problem.message))) continue;
        if (problem.kind !== "busy" || ++waits > MAX_WAITS) throw problem;
        await countdown(problem, signal);
      }
    }
  }

  /**
   * Shows what went wrong, and what can be done about it.
   * @param {unknown} problem
   */
  report(problem) {
    if (!(problem instanceof Problem)) throw problem;
    const again = h("button", { type: "button", onclick: this.again }, "Try again");
    notice(sentence(problem.message), problem.kind === "refused" ? null : again);
    if (problem.kind === "away") this.#waitUntilBack();
  }

  /** Nothing that was reported counts any more. */
  forget() {
    this.#watching.abort();
    this.#watching = new AbortController();
  }

  async changeKey() {
    if (await this.#askKey("Which key is to be used instead?")) this.again();
  }

  /**
   * @param {string} reason
   * @returns {Promise<boolean>} whether one was given
   */
  async #askKey(reason) {
    the("ask-key-reason").textContent = sentence(reason);
    the("key").value = "";
    if ((await asked(the("ask-key"))) !== "use") return false;
    keys.set(the("key").value);
    this.keyChanged();
    return true;
  }

  async #waitUntilBack() {
    const { signal } = this.#watching;
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_SECONDS * 1000));
      try {
        await fetch("live", { signal });
        if (!signal.aborted) this.again();
        return;
      } catch {
        // Still away.
      }
    }
  }
}

/**
 * Waits as long as the service wants, and says so.
 * @param {Problem} problem
 * @param {AbortSignal} [signal]
 */
async function countdown(problem, signal) {
  for (let left = Math.ceil(problem.seconds); left > 0; left--) {
    notice(`${sentence(problem.message)} Trying again in ${left} s.`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    signal?.throwIfAborted();
  }
  notice("");
}

/**
 * Replaces the notice above the content; "" removes it.
 * @param {string} text
 * @param {Node | null} [action]
 */
export function notice(text, action) {
  the("notice").replaceChildren(...(text ? [h("p", {}, text)] : []), ...(action ? [action] : []));
}
