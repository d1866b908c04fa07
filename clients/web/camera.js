/**
 * The camera as the page moves it: a pose that orbits a target. Pure.
 *
 * World frame: metres, right-handed, +Y up. Yaw 0 has the camera on the target's +Z side and
 * grows towards +X; pitch is the angle above the horizontal plane (the renderer's convention).
 */

/**
 * @typedef {object} Pose
 * @property {number} yaw  radians
 * @property {number} pitch  radians
 * @property {number} distance  metres from the target, > 0
 * @property {[number, number, number]} target  metres, world frame
 * @property {number} [fov]  vertical field of view, radians; never changed here
 */

/**
 * How far the camera may go.
 * @typedef {object} Reach
 * @property {number} nearest  smallest distance, metres
 * @property {number} farthest  largest distance, metres
 * @property {[number, number, number]} low  corner of the box that the target stays in
 * @property {[number, number, number]} high  the opposite corner
 */

/** @typedef {[number, number, number]} Vector */

const MAX_PITCH = (89 / 180) * Math.PI;
const DEFAULT_FOV = (40 / 180) * Math.PI;

/** @type {Pose} */
export const DEFAULT_POSE = { yaw: 0.4, pitch: 0.25, distance: 5, target: [0, 0, 0] };

/**
 * A reach that fits a scene: everything in it can be looked at, and nobody gets lost.
 * @param {Pose} home
 * @param {{low: number[], high: number[]}} [bounds]
 * @returns {Reach}
 */
export function reachOf(home, bounds) {
  const low = bounds?.low ?? home.target.map((at) => at - home.distance);
  const high = bounds?.high ?? home.target.map((at) => at + home.distance);
  const radius = Math.max(Math.hypot(...high.map((at, i) => at - low[i])) / 2, 1e-3);
  const farthest = Math.max(8 * radius, 2 * home.distance);
  return {
    nearest: Math.min(radius / 50, home.distance),
    farthest,
    low: vector((i) => Math.min(low[i] - radius, home.target[i])),
    high: vector((i) => Math.max(high[i] + radius, home.target[i])),
  };
}

/**
 * Turn about the target.
 * @param {Pose} pose
 * @param {number} byYaw  radians
 * @param {number} byPitch  radians
 * @returns {Pose}
 */
export function orbit(pose, byYaw, byPitch) {
  const pitch = clamp(pose.pitch + byPitch, -MAX_PITCH, MAX_PITCH);
  return { ...pose, yaw: wrap(pose.yaw + byYaw), pitch };
}

/**
 * Turn the head: the eye stays where it is and the target moves.
 * @param {Pose} pose
 * @param {number} byYaw  radians, to the left
 * @param {number} byPitch  radians, downwards
 * @returns {Pose}
 */
export function look(pose, byYaw, byPitch) {
  const eye = eyeOf(pose);
  const turned = orbit(pose, byYaw, byPitch);
  const { back } = axesOf(turned);
  return { ...turned, target: vector((i) => eye[i] - back[i] * pose.distance) };
}

/**
 * Come nearer to the target, or go away from it.
 * @param {Pose} pose
 * @param {number} factor  of the distance; > 0
 * @param {Reach} reach
 * @returns {Pose}
 */
export function dolly(pose, factor, reach) {
  return { ...pose, distance: clamp(pose.distance * factor, reach.nearest, reach.farthest) };
}

/**
 * Slide so that what is at the target follows a pointer.
 * @param {Pose} pose
 * @param {number} right  heights of the picture
 * @param {number} down  heights of the picture
 * @param {Reach} reach
 * @returns {Pose}
 */
export function pan(pose, right, down, reach) {
  const height = 2 * pose.distance * Math.tan((pose.fov ?? DEFAULT_FOV) / 2);
  return move(pose, [-right * height, down * height, 0], reach);
}

/**
 * Move eye and target together.
 * @param {Pose} pose
 * @param {Vector} by  metres to the right, upwards and backwards, as the camera sees them
 * @param {Reach} reach
 * @returns {Pose}
 */
export function move(pose, by, reach) {
  const { right, up, back } = axesOf(pose);
  const to = vector((i) => pose.target[i] + right[i] * by[0] + up[i] * by[1] + back[i] * by[2]);
  return { ...pose, target: vector((i) => clamp(to[i], reach.low[i], reach.high[i])) };
}

/**
 * Where the camera is, world frame.
 * @param {Pose} pose
 * @returns {Vector}
 */
export function eyeOf(pose) {
  const { back } = axesOf(pose);
  return vector((i) => pose.target[i] + back[i] * pose.distance);
}

/**
 * The camera's axes in the world frame, unit vectors.
 * @param {Pose} pose
 * @returns {{right: Vector, up: Vector, back: Vector}}
 */
export function axesOf({ yaw, pitch }) {
  const [sinYaw, cosYaw, sinPitch, cosPitch] = [
    Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch),
  ];
  return {
    right: [cosYaw, 0, -sinYaw],
    up: [-sinPitch * sinYaw, cosPitch, -sinPitch * cosYaw],
    back: [cosPitch * sinYaw, sinPitch, cosPitch * cosYaw],
  };
}

/**
 * @param {Pose} a
 * @param {Pose} b
 */
export function samePose(a, b) {
  return a.yaw === b.yaw && a.pitch === b.pitch && a.distance === b.distance
    && a.target.every((at, i) => at === b.target[i]);
}

/**
 * @param {(i: number) => number} at
 * @returns {Vector}
 */
function vector(at) {
  return [at(0), at(1), at(2)];
}

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** @param {number} angle */
function wrap(angle) {
  return Math.atan2(Math.sin(angle), Math.cos(angle));
}
