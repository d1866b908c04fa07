/**
 * What the page saw, kept for whoever checks it: `window.framemesh.take()`. Pure.
 *
 * Frame ids are those read from the pixels (with ?barcode=1), not those that messages claim.
 * Times are milliseconds since the page was opened.
 */

import { ID_MODULUS } from "./barcode.js";

const MOST = 20_000; // of each kind, between two takes

/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * @typedef {object} Record
 * @property {[number, number | null][]} pictures  shown at, id in the pixels (null: unreadable)
 * @property {[number, number, number, number, Object<string, number>][]} facts  received at,
 *   frame, input, filled pieces, pieces by maker
 * @property {[number, number, number, number][]} sweeps  shown at, frame, boxes, points to look at
 * @property {[number, number][]} roundTrips  shown at, milliseconds since the input
 */

/** @returns {Record} */
function nothing() {
  return { pictures: [], facts: [], sweeps: [], roundTrips: [] };
}

/** Records one page's life; ids start over with each connection. */
export class Recorder {
  constructor() {
    this.record = nothing();
    this.counts = {
      connections: 0,
      pictures: 0,
      unreadable: 0,
      repeated: 0,
      backwards: 0,
      matched: 0,
      facts: 0,
      sweeps: 0,
      oddities: 0,
    };
    /** @type {number | null} */
    this.lastId = null;
  }

  /** A new connection begins. */
  connection() {
    this.counts.connections += 1;
    this.lastId = null;
  }

  /** @param {number | null} id @param {number} atMs @param {boolean} expected  to have an id */
  picture(id, atMs, expected) {
    this.counts.pictures += 1;
    keep(this.record.pictures, [atMs, id]);
    if (id === null) {
      if (expected) this.counts.unreadable += 1;
      return;
    }
    if (this.lastId !== null) {
      const ahead = (id - this.lastId + ID_MODULUS) % ID_MODULUS;
      if (ahead === 0) this.counts.repeated += 1;
      else if (ahead >= ID_MODULUS / 2) this.counts.backwards += 1;
    }
    this.lastId = id;
  }

  /** @param {FrameFacts} facts @param {number} atMs */
  facts(facts, atMs) {
    this.counts.facts += 1;
    /** @type {Object<string, number>} */
    const made = {};
    for (const { maker } of facts.pieces) {
      if (maker !== null) made[maker] = (made[maker] ?? 0) + 1;
    }
    keep(this.record.facts, [atMs, facts.frame, facts.input, facts.filled, made]);
  }

  /** @param {number} frame @param {import("./fmbx.js").Sweep} sweep @param {number} atMs */
  sweep(frame, { boxes, cloud }, atMs) {
    this.counts.sweeps += 1;
    keep(this.record.sweeps, [atMs, frame, boxes.count, cloud?.count ?? 0]);
  }

  /** A picture on the screen was found to be that of known facts. */
  matched() {
    this.counts.matched += 1;
  }

  /** @param {number} ms @param {number} atMs */
  roundTrip(ms, atMs) {
    keep(this.record.roundTrips, [atMs, ms]);
  }

  /** A message could not be read. */
  oddity() {
    this.counts.oddities += 1;
  }

  /**
   * Everything since the last take.
   * @returns {Record}
   */
  take() {
    const { record } = this;
    this.record = nothing();
    return record;
  }
}

/**
 * @template T
 * @param {T[]} list
 * @param {T} entry
 */
function keep(list, entry) {
  if (list.length < MOST) list.push(entry);
}
