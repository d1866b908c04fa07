/**
 * Finds the facts that belong to each picture on the screen. Pure.
 *
 * They come on different ways: pictures over RTP, facts over a lossy data channel, either first.
 * A picture that carries a barcode names its frame. Otherwise its RTP timestamp tells: it counts
 * the same instants as `opened_us`, at 90 kHz, from a random start (RFC 3550, 5.1). That start is
 * found by voting: of all differences between pictures and facts seen, the one that keeps coming
 * back, among pairs that arrived close together, is it.
 */

import { ID_MODULUS } from "./barcode.js";

const RTP_MODULUS = 2 ** 32;
const TOLERANCE_TICKS = 3; // the gateway rounds twice
const FEWEST_VOTES = 4;
const MAX_CANDIDATES = 96;
const CLOSE_MS = 15; // arrivals this far apart count half
const KEPT_FACTS = 64;
const KEPT_PICTURES = 32;

/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * A picture that was put on the screen.
 * @typedef {object} Shown
 * @property {number} atMs
 * @property {number | null} id  from its barcode, modulo ID_MODULUS
 * @property {number | null} rtp  its RTP timestamp
 * @property {number} [serial]  under which the late warp keeps it
 */

/** The pictures and facts of one session. */
export class FrameBook {
  /** @param {(facts: FrameFacts, picture: Shown) => void} matched  called once per picture */
  constructor(matched) {
    this.matched = matched;
    /** @type {{facts: FrameFacts, ticks: number, atMs: number}[]} */
    this.facts = [];
    /** @type {Shown[]} */
    this.waiting = [];
    this.start = new RtpStart();
  }

  /** @param {Shown} picture */
  addPicture(picture) {
    if (picture.id === null && picture.rtp !== null) {
      for (const known of this.facts) {
        this.start.vote(picture.rtp - known.ticks, Math.abs(picture.atMs - known.atMs));
      }
    }
    const entry = this.facts.find((known) => this.#belong(known, picture));
    if (entry !== undefined) {
      this.matched(entry.facts, picture);
      return;
    }
    this.waiting.push(picture);
    if (this.waiting.length > KEPT_PICTURES) this.waiting.shift();
  }

  /**
   * @param {FrameFacts} facts
   * @param {number} atMs  when they came
   */
  addFacts(facts, atMs) {
    const known = { facts, ticks: Math.floor((facts.openedUs * 9) / 100), atMs };
    this.facts.push(known);
    if (this.facts.length > KEPT_FACTS) this.facts.shift();
    for (const picture of this.waiting) {
      if (picture.id === null && picture.rtp !== null) {
        this.start.vote(picture.rtp - known.ticks, Math.abs(atMs - picture.atMs));
      }
    }
    const at = this.waiting.findIndex((picture) => this.#belong(known, picture));
    if (at < 0) return;
    const [picture] = this.waiting.splice(0, at + 1).slice(-1); // older ones' facts were lost
    this.matched(facts, picture);
  }

  /**
   * @param {{facts: FrameFacts, ticks: number}} known
   * @param {Shown} picture
   */
  #belong({ facts, ticks }, { id, rtp }) {
    if (id !== null) return facts.frame % ID_MODULUS === id;
    return rtp !== null && this.start.fits(rtp - ticks);
  }
}

/** The RTP timestamp of the instant 0 on the gateway's clock, as far as is known. */
class RtpStart {
  constructor() {
    /** @type {{start: number, votes: number, score: number}[]} */
    this.candidates = [];
  }

  /**
   * @param {number} difference  RTP timestamp less ticks of the gateway's clock
   * @param {number} apartMs  between the two arrivals
   */
  vote(difference, apartMs) {
    const start = modulo(difference, RTP_MODULUS);
    let candidate = this.candidates.find((known) => near(known.start, start));
    if (candidate === undefined) {
      candidate = { start, votes: 0, score: 0 };
      this.candidates.push(candidate);
    }
    candidate.votes += 1;
    candidate.score += 1 / (1 + apartMs / CLOSE_MS);
    this.candidates.sort((a, b) => b.score - a.score);
    this.candidates.length = Math.min(this.candidates.length, MAX_CANDIDATES);
  }

  /** @param {number} difference */
  fits(difference) {
    const [best] = this.candidates;
    return best !== undefined && best.votes >= FEWEST_VOTES
      && near(best.start, modulo(difference, RTP_MODULUS));
  }
}

/** @param {number} a @param {number} b  both modulo RTP_MODULUS */
function near(a, b) {
  const apart = modulo(a - b, RTP_MODULUS);
  return Math.min(apart, RTP_MODULUS - apart) <= TOLERANCE_TICKS;
}

/** @param {number} value @param {number} modulus */
function modulo(value, modulus) {
  return ((value % modulus) + modulus) % modulus;
}
