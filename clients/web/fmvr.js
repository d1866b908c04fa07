/**
 * Reads what a frame of a headset's session was drawn from. Pure.
 * The format, FMVR version 1, is described in render/viewresult.py.
 */

import { ProblemError } from "./protocol.js";

const MAGIC = 0x52564d46; // "FMVR", read as a little-endian uint32
const HEADER_BYTES = 80;
const MATRIX_BYTES = 128;
const POSED = 1; // flag: the pose is a client's
const MAX_VIEWS = 2;
const BLOCKS = [0, 4, 8, 16];

/**
 * Where a head is: metres in the scene's world, a unit quaternion x, y, z, w.
 * @typedef {object} HeadPose
 * @property {number} id  the client's own
 * @property {number[]} position
 * @property {number[]} orientation
 * @property {number} displayUs  when it is to be shown, on the client's clock
 */

/**
 * What is known of one frame.
 * @typedef {object} Views
 * @property {HeadPose} pose  that it was drawn from
 * @property {boolean} posed  whether a client sent that pose
 * @property {[number, number]} size  width and height of a view in the picture, pixels
 * @property {Float64Array[]} matrices  clip from world of each view, row by row
 * @property {number} block  pixels along a block of depth, 0 without
 * @property {Uint16Array[]} depth  of each view, row by row: the bits of float16 numbers
 */

/**
 * @param {Uint8Array} bytes  a result, whole
 * @returns {Views}
 * @throws {ProblemError} if it is anything else
 */
export function decodeViews(bytes) {
  if (bytes.length < HEADER_BYTES) throw malformed(`${bytes.length} bytes do not hold its header`);
  const data = bytes.slice().buffer; // aligned
  const head = new DataView(data);
  if (head.getUint32(0, true) !== MAGIC || head.getUint8(4) !== 1) throw malformed("it is not FMVR/1");
  const [views, block, flags] = [head.getUint8(5), head.getUint8(6), head.getUint8(7)];
  const size = /** @type {[number, number]} */ ([head.getUint16(12, true), head.getUint16(14, true)]);
  if (views < 1 || views > MAX_VIEWS || !BLOCKS.includes(block)) {
    throw malformed(`it has ${views} views and depth in blocks of ${block}`);
  }
  const cells = block ? Math.ceil(size[0] / block) * Math.ceil(size[1] / block) : 0;
  const wanted = HEADER_BYTES + views * (MATRIX_BYTES + 2 * cells);
  if (bytes.length !== wanted) throw malformed(`it has ${bytes.length} bytes, not ${wanted}`);
  const numbers = (/** @type {number} */ at, /** @type {number} */ count) =>
    [...Array(count).keys()].map((i) => head.getFloat64(at + 8 * i, true));
  const each = [...Array(views).keys()];
  const after = HEADER_BYTES + views * MATRIX_BYTES;
  return {
    pose: {
      id: head.getUint32(8, true),
      position: numbers(24, 3),
      orientation: numbers(48, 4),
      displayUs: Number(head.getBigInt64(16, true)),
    },
    posed: (flags & POSED) !== 0,
    size,
    matrices: each.map((i) => new Float64Array(data, HEADER_BYTES + i * MATRIX_BYTES, 16)),
    block,
    depth: block ? each.map((i) => new Uint16Array(data, after + 2 * i * cells, cells)) : [],
  };
}

/** @param {string} why */
function malformed(why) {
  return new ProblemError({
    code: "protocol",
    what: "a frame's views cannot be read",
    why,
    fix: "Reload the page: it and the gateway may be of different versions.",
  });
}
