/**
 * Reads the result of a LiDAR sweep: boxes, and some points to look at. Pure.
 * The format, FMBX versions 1 and 2, is described in infer/codec.py.
 */

import { ProblemError } from "./protocol.js";

export const CLASSES = ["other", "car", "truck", "pedestrian", "cyclist"];
export const CUT = 1; // flag: touches a sector that never came

const MAGIC = 0x58424d46; // "FMBX", read as a little-endian uint32
const BOXES_ALONE = 1;
const WITH_CLOUD = 2;
const HEADER_BYTES = 72;
const BOX_BYTES = 38;
const POINT_BYTES = 7;
const MAX_BOXES = 100_000;
const MAX_CLOUD = 8192;
const COUNTS = [
  "points", "masked", "outside", "groundPoints", "obstaclePoints", "groundCells", "obstacleCells",
];
const TIMES = ["cut", "columns", "clusters", "boxes", "merge"];

/**
 * n boxes; metres and radians, sensor frame (x forward, y left, z up). See infer/codec.py.
 * @typedef {object} Boxes
 * @property {number} count
 * @property {Float32Array} centres  x, y, z each
 * @property {Float32Array} sizes  length, width, height each
 * @property {Float32Array} yaws  of the length from x
 * @property {Float32Array} scores  0 to 1
 * @property {Uint32Array} points
 * @property {Uint8Array} classes  indices into CLASSES
 * @property {Uint8Array} flags
 */

/**
 * Points to look at.
 * @typedef {object} Cloud
 * @property {number} count
 * @property {Int16Array} positions  x, y, z each, centimetres, sensor frame
 * @property {Uint8Array} intensities
 */

/**
 * What is known of one sweep.
 * @typedef {object} Sweep
 * @property {number} stampUs  when it was taken, on the sensor's clock
 * @property {number} sectors  that it was cut into
 * @property {number[]} missing  indices of sectors that never came
 * @property {Record<string, number>} counts  of points and cells, see COUNTS
 * @property {[string, number][]} times  stage and microseconds: the gateway's cut and merge, and
 *   those of the slowest sector between them
 * @property {Boxes} boxes
 * @property {Cloud | null} cloud  null where no points were asked for
 */

/**
 * @param {Uint8Array} bytes  a result, whole
 * @returns {Sweep}
 * @throws {ProblemError} if it is not such a result
 */
export function decodeSweep(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength < HEADER_BYTES) {
    throw refused(`${view.byteLength} bytes do not hold its header`);
  }
  const version = view.getUint16(4, true);
  if (view.getUint32(0, true) !== MAGIC || (version !== BOXES_ALONE && version !== WITH_CLOUD)) {
    throw refused("it does not begin as a result of version 1 or 2 does");
  }
  const count = view.getUint32(16, true);
  const end = HEADER_BYTES + BOX_BYTES * count;
  const fits = version === BOXES_ALONE ? view.byteLength === end : view.byteLength >= end;
  if (count > MAX_BOXES || !fits) {
    throw refused(`${count} boxes do not fit its ${view.byteLength} bytes`);
  }
  const numbers = new Reader(view, 24).uint32s(COUNTS.length + TIMES.length);
  return {
    stampUs: Number(view.getBigInt64(8, true)),
    sectors: view.getUint16(6, true),
    missing: bitsOf(view.getUint32(20, true)),
    counts: Object.fromEntries(COUNTS.map((name, i) => [name, numbers[i]])),
    times: TIMES.map((name, i) => [name, numbers[COUNTS.length + i]]),
    boxes: readBoxes(view, count),
    cloud: version === WITH_CLOUD ? readCloud(view, end) : null,
  };
}

/**
 * @param {DataView} view
 * @param {number} count
 * @returns {Boxes}
 */
function readBoxes(view, count) {
  const reader = new Reader(view, HEADER_BYTES);
  const boxes = {
    count,
    centres: reader.float32s(3 * count),
    sizes: reader.float32s(3 * count),
    yaws: reader.float32s(count),
    scores: reader.float32s(count),
    points: reader.uint32s(count),
    classes: reader.uint8s(count),
    flags: reader.uint8s(count),
  };
  if (boxes.classes.some((kind) => kind >= CLASSES.length)) {
    throw refused("it has a class that is not known");
  }
  if (![boxes.centres, boxes.sizes, boxes.yaws].every((array) => array.every(Number.isFinite))) {
    throw refused("a box of it lies nowhere");
  }
  return boxes;
}

/**
 * @param {DataView} view
 * @param {number} at  where the boxes end
 * @returns {Cloud}
 */
function readCloud(view, at) {
  const left = view.byteLength - at;
  if (left < 4) throw refused(`${left} bytes after its boxes do not say how many points follow`);
  const count = view.getUint32(at, true);
  if (count > MAX_CLOUD || left !== 4 + POINT_BYTES * count) {
    throw refused(`${count} points do not fit the ${left} bytes after its boxes`);
  }
  const reader = new Reader(view, at + 4);
  return { count, positions: reader.int16s(3 * count), intensities: reader.uint8s(count) };
}

/** Reads arrays one after the other, little-endian whatever the machine, at any alignment. */
class Reader {
  /** @param {DataView} view @param {number} at */
  constructor(view, at) {
    this.view = view;
    this.at = at;
  }

  /** @param {number} n */
  float32s(n) {
    return this.#read(new Float32Array(n), (at) => this.view.getFloat32(at, true));
  }

  /** @param {number} n */
  uint32s(n) {
    return this.#read(new Uint32Array(n), (at) => this.view.getUint32(at, true));
  }

  /** @param {number} n */
  int16s(n) {
    return this.#read(new Int16Array(n), (at) => this.view.getInt16(at, true));
  }

  /** @param {number} n */
  uint8s(n) {
    return this.#read(new Uint8Array(n), (at) => this.view.getUint8(at));
  }

  /**
   * @template {Float32Array | Uint32Array | Int16Array | Uint8Array} T
   * @param {T} array
   * @param {(at: number) => number} read
   * @returns {T}
   */
  #read(array, read) {
    for (let i = 0; i < array.length; i += 1) {
      array[i] = read(this.at);
      this.at += array.BYTES_PER_ELEMENT;
    }
    return array;
  }
}

/** @param {number} bits  uint32 */
function bitsOf(bits) {
  return [...Array(32).keys()].filter((bit) => (bits >>> bit) & 1);
}

/** @param {string} why */
function refused(why) {
  return new ProblemError({
    code: "content_refused",
    what: "the result of a sweep cannot be read",
    why,
    fix: "Reload the page: it and the gateway may be of different versions.",
  });
}
