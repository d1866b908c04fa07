/**
 * Decides when the camera's state is said, over a channel that may lose it. Pure.
 *
 * Each message is absolute, so only the newest counts: it is sent at most once per display frame,
 * and said again a few times under the same id (a gateway ignores an id that it has seen) in case
 * it was the last and got lost.
 */

const LEAST_GAP_MS = 8; // a gateway accepts 240 a second; some displays refresh faster than that
const SAY_AGAIN_AFTER_MS = [40, 120, 300, 700];
const MAX_UNANSWERED = 512;

/** @typedef {import("./camera.js").Pose | import("./matrix.js").Head} State */

/** Outgoing camera states of one session. */
export class Outbox {
  /** @param {(state: State, id: number) => object} word  how it is said */
  constructor(word = (state) => ({ camera: state })) {
    this.word = word;
    /** @type {State | null} */
    this.unsaid = null;
    this.id = -1;
    this.text = "";
    this.saidAtMs = -Infinity;
    this.saidAgain = SAY_AGAIN_AFTER_MS.length;
    /** @type {Map<number, number>} id -> when it was first said, milliseconds */
    this.unanswered = new Map();
  }

  /** Whether `next` will have something to say, now or soon. */
  get pending() {
    return this.unsaid !== null || this.saidAgain < SAY_AGAIN_AFTER_MS.length;
  }

  /** @param {State} state  the newest */
  put(state) {
    this.unsaid = state;
  }

  /**
   * The message to send now, if any.
   * @param {number} nowMs
   * @returns {string | null}
   */
  next(nowMs) {
    const sinceMs = nowMs - this.saidAtMs;
    if (this.unsaid !== null && sinceMs >= LEAST_GAP_MS) {
      this.id += 1;
      this.text = JSON.stringify({ id: this.id, ...this.word(this.unsaid, this.id) });
      this.unsaid = null;
      this.saidAtMs = nowMs;
      this.saidAgain = 0;
      this.unanswered.set(this.id, nowMs);
      if (this.unanswered.size > MAX_UNANSWERED) this.#forgetOldest();
      return this.text;
    }
    if (this.unsaid === null && sinceMs >= SAY_AGAIN_AFTER_MS[this.saidAgain]) {
      this.saidAgain += 1;
      return this.text;
    }
    return null;
  }

  /**
   * A picture shaped by an input is on the screen.
   * @param {number} id
   * @param {number} nowMs
   * @returns {number | null} milliseconds since that input was first said; null if it is old news
   */
  answered(id, nowMs) {
    const saidAtMs = this.unanswered.get(id);
    if (saidAtMs === undefined) return null;
    for (const known of this.unanswered.keys()) {
      if (known > id) break;
      this.unanswered.delete(known);
    }
    if (id === this.id) this.saidAgain = SAY_AGAIN_AFTER_MS.length;
    return nowMs - saidAtMs;
  }

  #forgetOldest() {
    for (const oldest of this.unanswered.keys()) {
      this.unanswered.delete(oldest);
      return;
    }
  }
}
