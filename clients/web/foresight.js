/**
 * Where the camera will be when a picture drawn for it is on the screen. Pure.
 *
 * The camera is taken to go on as it went within the last moments. Where it does not, the late warp
 * puts right what was guessed wrong; the guess decides how much margin that takes.
 */

import { axesOf, eyeOf } from "./camera.js";
import { slerp } from "./matrix.js";

const WINDOW_MS = 60; // speeds are means over this long: hands and pointers tremble
const LEAST_MS = 12; // two samples closer than this say nothing of a speed
const FARTHEST_MS = 350;

/** @typedef {import("./camera.js").Pose} Pose */
/** @typedef {import("./camera.js").Vector} Vector */
/** @typedef {import("./matrix.js").Head} Head */

/**
 * @template T
 */
export class Foresight {
  /** @param {(before: T, now: T, share: number) => T} between  also beyond its ends */
  constructor(between) {
    this.between = between;
    /** @type {{atMs: number, state: T}[]} */
    this.samples = [];
  }

  /** What comes next does not follow from what was. */
  forget() {
    this.samples = [];
  }

  /**
   * @param {T} state
   * @param {number} atMs
   */
  add(state, atMs) {
    while (this.samples.length > 1 && this.samples[1].atMs <= atMs - WINDOW_MS) {
      this.samples.shift();
    }
    if (this.samples.length === 1 && this.samples[0].atMs < atMs - 2 * WINDOW_MS) {
      this.samples = []; // it stood still for long: it has only just begun to move
    }
    this.samples.push({ atMs, state });
  }

  /**
   * The state that long after the newest sample.
   * @param {number} aheadMs
   * @returns {T | null}  null before the first
   */
  after(aheadMs) {
    const [oldest, newest] = [this.samples[0], this.samples[this.samples.length - 1]];
    if (newest === undefined) return null;
    const spanMs = newest.atMs - oldest.atMs;
    if (spanMs < LEAST_MS) return newest.state;
    const share = 1 + Math.min(Math.max(aheadMs, 0), FARTHEST_MS) / spanMs;
    return this.between(oldest.state, newest.state, share);
  }
}

/**
 * Between two heads.
 * @param {Head} before
 * @param {Head} now
 * @param {number} share
 * @returns {Head}
 */
export function headBetween(before, now, share) {
  return {
    position: before.position.map((at, i) => at + share * (now.position[i] - at)),
    orientation: slerp(before.orientation, now.orientation, share),
  };
}

/**
 * Between two poses of an orbit camera.
 * @param {Pose} before
 * @param {Pose} now
 * @param {number} share
 * @returns {Pose}
 */
export function poseBetween(before, now, share) {
  const turn = now.yaw - before.yaw;
  const pitch = before.pitch + share * (now.pitch - before.pitch);
  const pose = {
    ...now,
    yaw: before.yaw + share * Math.atan2(Math.sin(turn), Math.cos(turn)),
    pitch: Math.min(Math.max(pitch, -Math.PI / 2), Math.PI / 2),
    distance: before.distance * (now.distance / before.distance) ** share,
  };
  const [eyes, targets] = [[eyeOf(before), eyeOf(now)], [before.target, now.target]];
  if (apart(targets) < apart(eyes)) return { ...pose, target: along(targets, share) };
  // Who looks around stays where they are: the target swings about the eye.
  const [eye, { back }] = [along(eyes, share), axesOf(pose)];
  const target = eye.map((at, i) => at - back[i] * pose.distance);
  return { ...pose, target: /** @type {Vector} */ (target) };
}

/** @param {Vector[]} ends */
function apart([from, to]) {
  return Math.hypot(...from.map((at, i) => to[i] - at));
}

/**
 * @param {Vector[]} ends
 * @param {number} share
 */
function along([from, to], share) {
  return /** @type {Vector} */ (from.map((at, i) => at + share * (to[i] - at)));
}
