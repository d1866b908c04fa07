/**
 * Small linear algebra: 4x4 matrices row by row, quaternions x, y, z, w. Pure.
 *
 * Matrices multiply column vectors, as in render/camera.py. Clip space is Vulkan's: y points down,
 * depth is 1 at the near plane and 0 at infinity.
 */

/** @typedef {ArrayLike<number>} Matrix  16 numbers, row by row */
/** @typedef {{position: number[], orientation: number[]}} Head  metres; world from head */

export const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/**
 * a * b.
 * @param {Matrix} a
 * @param {Matrix} b
 * @returns {number[]}
 */
export function multiply(a, b) {
  return IDENTITY.map((_, at) => {
    const [row, column] = [at - (at % 4), at % 4];
    return a[row] * b[column] + a[row + 1] * b[column + 4]
      + a[row + 2] * b[column + 8] + a[row + 3] * b[column + 12];
  });
}

/**
 * The inverse, by Gauss-Jordan elimination with row pivots; null where there is none.
 * @param {Matrix} matrix
 * @returns {number[] | null}
 */
export function inverse(matrix) {
  const rows = [0, 1, 2, 3].map((row) => [
    ...[0, 1, 2, 3].map((column) => matrix[4 * row + column]),
    ...IDENTITY.slice(4 * row, 4 * row + 4),
  ]);
  for (let at = 0; at < 4; at++) {
    let pivot = at;
    for (let row = at + 1; row < 4; row++) {
      if (Math.abs(rows[row][at]) > Math.abs(rows[pivot][at])) pivot = row;
    }
    [rows[at], rows[pivot]] = [rows[pivot], rows[at]];
    const lead = rows[at][at];
    if (!(Math.abs(lead) > 1e-300)) return null;
    rows[at] = rows[at].map((value) => value / lead);
    for (let row = 0; row < 4; row++) {
      const factor = rows[row][at];
      if (row !== at) rows[row] = rows[row].map((value, i) => value - factor * rows[at][i]);
    }
  }
  return rows.flatMap((row) => row.slice(4));
}

/**
 * Columns as WebGL and WebXR have them, as rows; and the other way round.
 * @param {Matrix} matrix
 * @returns {number[]}
 */
export function transpose(matrix) {
  return IDENTITY.map((_, at) => matrix[4 * (at % 4) + Math.floor(at / 4)]);
}

/**
 * Head from world: what turns a point of the world into one that the head sees.
 * @param {Head} head
 * @returns {number[]}
 */
export function headFromWorld({ position, orientation: [x, y, z, w] }) {
  const axes = [
    [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)], // right
    [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)], // up
    [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)], // back
  ];
  const away = (/** @type {number[]} */ axis) =>
    -(axis[0] * position[0] + axis[1] * position[1] + axis[2] * position[2]);
  return [...axes.flatMap((axis) => [...axis, away(axis)]), 0, 0, 0, 1];
}

/**
 * One turn after another: a * b.
 * @param {number[]} a
 * @param {number[]} b
 * @returns {number[]}
 */
export function turned([ax, ay, az, aw], [bx, by, bz, bw]) {
  return [
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
    aw * bw - ax * bx - ay * by - az * bz,
  ];
}

/**
 * A point turned by a quaternion.
 * @param {number[]} orientation
 * @param {number[]} point
 * @returns {number[]}
 */
export function rotate(orientation, [x, y, z]) {
  const [qx, qy, qz, qw] = orientation;
  return turned(turned(orientation, [x, y, z, 0]), [-qx, -qy, -qz, qw]).slice(0, 3);
}

/**
 * Spherical interpolation (Shoemake, 1985), also beyond its ends: `share` 0 is a, 1 is b.
 * @param {number[]} a
 * @param {number[]} b
 * @param {number} share
 * @returns {number[]}  of unit length
 */
export function slerp(a, b, share) {
  const dot = a.reduce((sum, value, i) => sum + value * b[i], 0);
  const near = dot < 0 ? b.map((value) => -value) : b; // the shorter way round
  const angle = Math.acos(Math.min(1, Math.abs(dot)));
  const [before, after] = angle < 1e-6
    ? [1 - share, share]
    : [Math.sin((1 - share) * angle), Math.sin(share * angle)];
  const between = a.map((value, i) => before * value + after * near[i]);
  const length = Math.hypot(...between);
  return between.map((value) => value / length);
}
