/**
 * Joins the parts that a result comes in. Pure.
 *
 * The frames channel loses messages and may turn their order round, so each says which part of
 * which frame's result it is; docs/protocol-browser.md describes it, mesh/stream/parts.py splits.
 */

import { ProblemError } from "./protocol.js";

export const HEADER_BYTES = 16;
export const PART_BYTES = 16 * 1024;
const MAX_PARTS = 64;
const MAX_UNDER_WAY = 4; // results that are being joined at a time
const REMEMBERED = 64; // results handed out, so that none comes twice

/**
 * A frame's result, whole.
 * @typedef {{frame: number, bytes: Uint8Array}} Result
 */

/** Results out of parts, some of which never come. */
export class Joiner {
  constructor() {
    /** @type {Map<number, {bytes: Uint8Array, came: Set<number>}>} */
    this.underWay = new Map();
    /** @type {number[]} */
    this.done = [];
    this.givenUp = 0; // results of which only some parts came
  }

  /**
   * @param {ArrayBuffer} message  one binary message of the frames channel
   * @returns {Result | null} the result that it completes, each frame's once
   * @throws {ProblemError} if it is no part, or contradicts the others of its frame
   */
  add(message) {
    const { frame, part, parts, length } = readHeader(message);
    if (this.done.includes(frame)) return null;
    const joining = this.underWay.get(frame) ?? this.#begin(frame, length);
    if (joining === null) return null;
    if (joining.bytes.length !== length) {
      throw malformed(`frame ${frame} has ${joining.bytes.length} bytes, and ${length}`);
    }
    joining.bytes.set(new Uint8Array(message, HEADER_BYTES), part * PART_BYTES);
    joining.came.add(part);
    if (joining.came.size < parts) return null;
    this.underWay.delete(frame);
    this.done.push(frame);
    if (this.done.length > REMEMBERED) this.done.shift();
    return { frame, bytes: joining.bytes };
  }

  /**
   * Make room for a frame: the oldest is given up, unless this one is older still.
   * @param {number} frame
   * @param {number} length
   */
  #begin(frame, length) {
    if (this.underWay.size === MAX_UNDER_WAY) {
      const oldest = Math.min(...this.underWay.keys());
      if (frame < oldest) return null;
      this.underWay.delete(oldest);
      this.givenUp += 1;
    }
    const joining = { bytes: new Uint8Array(length), came: new Set() };
    this.underWay.set(frame, joining);
    return joining;
  }
}

/** @param {ArrayBuffer} message */
function readHeader(message) {
  if (message.byteLength < HEADER_BYTES) {
    throw malformed(`${message.byteLength} bytes do not hold its header`);
  }
  const view = new DataView(message);
  const frame = Number(view.getBigUint64(0, true));
  const [part, parts] = [view.getUint16(8, true), view.getUint16(10, true)];
  const length = view.getUint32(12, true);
  const wanted = Math.max(1, Math.ceil(length / PART_BYTES));
  if (!Number.isSafeInteger(frame) || parts !== wanted || parts > MAX_PARTS || part >= parts) {
    throw malformed(`part ${part} of ${parts} of ${length} bytes of frame ${frame} cannot be`);
  }
  const here = message.byteLength - HEADER_BYTES;
  if (here !== Math.min(PART_BYTES, length - part * PART_BYTES)) {
    throw malformed(`part ${part} of ${parts} has ${here} bytes`);
  }
  return { frame, part, parts, length };
}

/** @param {string} why */
function malformed(why) {
  return new ProblemError({
    code: "protocol",
    what: "a part of a result cannot be read",
    why,
    fix: "Reload the page: it and the gateway may be of different versions.",
  });
}
