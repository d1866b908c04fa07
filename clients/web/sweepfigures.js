/** Rolling figures about sweeps, for people to read. Pure. */

import { CLASSES } from "./fmbx.js";

const LOST_AFTER_MS = 1000; // a result comes before its facts, or a moment after them
const REMEMBERED = 64; // results whose facts have not come

/** @typedef {import("./fmbx.js").Sweep} Sweep */
/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * What became of the sweeps of one session, since this page looks on.
 * @typedef {object} Misses
 * @property {number} sweeps  of which facts came
 * @property {number} late  with a sector that never came
 * @property {number} lost  whose results did not reach this page
 */

/** Counts what is missed. */
export class MissCounter {
  constructor() {
    this.misses = { sweeps: 0, late: 0, lost: 0 };
    /** @type {Map<number, number>} frame whose result has not come -> when its facts came */
    this.awaited = new Map();
    /** @type {Set<number>} frames whose results came before their facts */
    this.early = new Set();
  }

  /** @param {FrameFacts} facts @param {number} atMs */
  facts(facts, atMs) {
    this.misses.sweeps += 1;
    if (facts.filled > 0) this.misses.late += 1;
    if (facts.resultBytes === 0) return;
    if (facts.resultParts === 0) this.misses.lost += 1; // too long for this channel
    else if (!this.early.delete(facts.frame)) this.awaited.set(facts.frame, atMs);
  }

  /** @param {number} frame */
  result(frame) {
    if (this.awaited.delete(frame)) return;
    this.early.add(frame);
    if (this.early.size > REMEMBERED) this.early.delete(Math.min(...this.early));
  }

  /**
   * @param {number} nowMs
   * @returns {Misses}
   */
  read(nowMs) {
    for (const [frame, atMs] of this.awaited) {
      if (atMs > nowMs - LOST_AFTER_MS) continue;
      this.awaited.delete(frame);
      this.misses.lost += 1;
    }
    return { ...this.misses };
  }
}

/**
 * How many boxes of each class, the known classes first.
 * @param {Sweep} sweep
 * @returns {{name: string, count: number}[]}
 */
export function countClasses({ boxes }) {
  const counts = CLASSES.map((name) => ({ name, count: 0 }));
  for (const kind of boxes.classes) counts[kind].count += 1;
  return [...counts.slice(1), counts[0]];
}
