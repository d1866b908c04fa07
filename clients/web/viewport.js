/**
 * Where a map of the surroundings lies on the screen, seen from above: x forward is up, y left is
 * left. Metres in the sensor's frame, CSS pixels from the top left. Pure.
 */

/**
 * What part of the map is looked at.
 * @typedef {object} Viewport
 * @property {number} x  metres, at the middle
 * @property {number} y
 * @property {number} scale  pixels per metre
 */

/**
 * The part of the screen that nothing covers.
 * @typedef {{left: number, top: number, width: number, height: number}} Area
 */

export const LEAST_SCALE = 1.5;
export const MOST_SCALE = 120;

/**
 * Everything within a radius of the sensor.
 * @param {Area} area
 * @param {number} radius  metres
 * @returns {Viewport}
 */
export function fit({ width, height }, radius) {
  return { x: 0, y: 0, scale: clamp(Math.min(width, height) / (2 * radius)) };
}

/**
 * @param {Viewport} view
 * @param {Area} area
 * @param {number} x
 * @param {number} y
 * @returns {[number, number]} pixels
 */
export function toScreen(view, area, x, y) {
  const { left, top, width, height } = area;
  return [
    left + width / 2 - (y - view.y) * view.scale,
    top + height / 2 - (x - view.x) * view.scale,
  ];
}

/**
 * @param {Viewport} view
 * @param {Area} area
 * @param {number} u
 * @param {number} v
 * @returns {[number, number]} metres
 */
export function toMap(view, { left, top, width, height }, u, v) {
  return [
    view.x - (v - top - height / 2) / view.scale,
    view.y - (u - left - width / 2) / view.scale,
  ];
}

/**
 * The map follows a pointer.
 * @param {Viewport} view
 * @param {number} right  pixels
 * @param {number} down
 * @param {number} reach  metres that the middle may go from the sensor, along each axis
 * @returns {Viewport}
 */
export function slide(view, right, down, reach) {
  const within = (/** @type {number} */ at) => Math.min(Math.max(at, -reach), reach);
  return {
    ...view,
    x: within(view.x + down / view.scale),
    y: within(view.y + right / view.scale),
  };
}

/**
 * Nearer or farther, with what is under a pointer staying there.
 * @param {Viewport} view
 * @param {Area} area
 * @param {number} u
 * @param {number} v
 * @param {number} factor  > 1: nearer
 * @param {number} reach  as for `slide`
 * @returns {Viewport}
 */
export function zoom(view, area, u, v, factor, reach) {
  const [x, y] = toMap(view, area, u, v);
  const nearer = { ...view, scale: clamp(view.scale * factor) };
  const [nowU, nowV] = toScreen(nearer, area, x, y);
  return slide(nearer, u - nowU, v - nowV, reach);
}

/** @param {number} scale */
function clamp(scale) {
  return Math.min(Math.max(scale, LEAST_SCALE), MOST_SCALE);
}
