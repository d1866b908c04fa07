/**
 * What is seen from where the camera is now, as matrices: the renderer's own, made in the page
 * (render/camera.py, render/headset.py). Pure.
 */

import { axesOf, eyeOf } from "./camera.js";
import { fullSize } from "./fovea.js";
import { IDENTITY, headFromWorld, inverse, multiply, transpose } from "./matrix.js";

/** @typedef {import("./matrix.js").Matrix} Matrix */
/** @typedef {import("./matrix.js").Head} Head */
/** @typedef {import("./protocol.js").Description} Description */

const DEFAULT_FOV = (40 / 180) * Math.PI;
const NEAR_FRACTION = 1e-3; // of the distance to the target, as the renderer has it

/**
 * How large one view is, pixels: as drawn, before its edges are squeezed, and the middle of that
 * which is looked at.
 * @param {Description} description
 * @returns {{views: number, drawn: [number, number], lookedAt: [number, number]}}
 */
export function sizesOf({ width = 0, height = 0, eyes, fovea, overscan = [1, 1] }) {
  const views = eyes?.length ?? 1;
  const [across, down] = fovea ? fullSize(fovea) : [width, height];
  const drawn = /** @type {[number, number]} */ ([across / views, down]);
  return {
    views,
    drawn,
    lookedAt: [Math.round(drawn[0] / overscan[0]), Math.round(drawn[1] / overscan[1])],
  };
}

/**
 * Clip from world of each of a head's eyes.
 * @param {Description} description  of a session for a headset
 * @param {Head} head
 * @returns {number[][]}
 */
export function eyeViews({ eyes = [], near = 1e-3 }, head) {
  const fromWorld = headFromWorld(head);
  return eyes.map(({ right, turn, tangents }) => {
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    const fromHead = [cos, 0, -sin, -right * cos, 0, 1, 0, 0, sin, 0, cos, -right * sin, 0, 0, 0, 1];
    return multiply(frustum(tangents, near), multiply(fromHead, fromWorld));
  });
}

/**
 * Clip from world of an orbit camera.
 * @param {import("./camera.js").Pose} pose
 * @param {number} aspect  width over height
 * @returns {number[]}
 */
export function orbitView(pose, aspect) {
  const up = Math.tan((pose.fov ?? DEFAULT_FOV) / 2);
  const tangents = [-up * aspect, up * aspect, up, -up];
  const eye = eyeOf(pose);
  const rows = Object.values(axesOf(pose)).flatMap((axis) => [
    ...axis, -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]),
  ]);
  return multiply(frustum(tangents, pose.distance * NEAR_FRACTION), [...rows, 0, 0, 0, 1]);
}

/**
 * Clip from world of a view that WebXR describes, y up and with a depth of its own.
 * @param {Matrix} projection  as `XRView` has it, column by column
 * @param {Matrix} viewFromSpace  likewise: `XRView.transform.inverse.matrix`
 * @param {Matrix} spaceFromWorld  row by row
 * @param {number} near  metres
 * @returns {number[]}
 */
export function xrView(projection, viewFromSpace, spaceFromWorld, near) {
  const clip = multiply(transpose(projection), multiply(transpose(viewFromSpace), spaceFromWorld));
  const [x, y, w] = [clip.slice(0, 4), clip.slice(4, 8), clip.slice(12)];
  return [...x, ...y.map((value) => -value), 0, 0, 0, near, ...w];
}

/**
 * Clip from clip: where a point (x, y, depth, 1) of a view as drawn is seen now. With depth 0 for
 * all of them it is the turn alone, exactly: what is infinitely far does not shift.
 * @param {Matrix} now  clip from world, as looked at
 * @param {Matrix} drawn  clip from world, of the picture
 * @returns {number[]}
 */
export function warpOf(now, drawn) {
  const back = inverse(drawn);
  return back === null ? [...IDENTITY] : multiply(now, back);
}

/**
 * The same from where it was drawn: what is looked at of it, unmoved.
 * @param {Description} description
 * @returns {number[]}
 */
export function cropOf({ overscan = [1, 1] }) {
  return [overscan[0], 0, 0, 0, 0, overscan[1], 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
}

/**
 * Clip from view, without a far plane.
 * @param {number[]} tangents  of the angles to the left, right, upper and lower edge
 * @param {number} near  metres
 * @returns {number[]}
 */
function frustum([left, right, up, down], near) {
  const [across, upright] = [right - left, up - down];
  return [
    2 / across, 0, (right + left) / across, 0,
    0, -2 / upright, -(up + down) / upright, 0,
    0, 0, 0, near,
    0, 0, -1, 0,
  ];
}
