/**
 * Where the parts of a picture with squeezed edges belong. Pure.
 *
 * Along each axis of a view a few knots pair places in the view as looked at (`full`) with places in
 * the one that is sent (`squeezed`); between knots the map is even. render/foveate.py says more.
 */

/** @typedef {{full: number[], squeezed: number[]}} Axis  pixels from the left or top, rising */
/** @typedef {{x: Axis, y: Axis}} Fovea */
/** @typedef {[number, number, number, number]} Box  x, y, width, height, pixels */

/**
 * What to copy from where to where, for all views side by side.
 * @param {Fovea[]} views  from the left
 * @returns {{from: Box, to: Box}[]}
 */
export function partsOf(views) {
  return views.flatMap(({ x, y }, view) => {
    const [before, after] = [view * last(x.squeezed), view * last(x.full)];
    return spans(y).flatMap((down) => spans(x).map((across) => ({
      from: box(before + across.from[0], down.from[0], across.from[1], down.from[1]),
      to: box(after + across.to[0], down.to[0], across.to[1], down.to[1]),
    })));
  });
}

/**
 * Width and height of all views as looked at, side by side.
 * @param {Fovea[]} views
 * @returns {[number, number]}
 */
export function fullSize(views) {
  return [views.reduce((sum, { x }) => sum + last(x.full), 0), last(views[0].y.full)];
}

/**
 * Where a region of what is sent lies as looked at.
 * @param {Fovea[]} views
 * @param {number[]} region  x, y, width, height, within one view
 * @returns {Box}
 */
export function expanded(views, [left, top, width, height]) {
  const view = Math.floor(left / last(views[0].x.squeezed));
  const { x, y } = views[view];
  const [before, after] = [view * last(x.squeezed), view * last(x.full)];
  const [west, east] = [left, left + width].map((at) => expand(x, at - before) + after);
  const [north, south] = [top, top + height].map((at) => expand(y, at));
  return box(west, north, east - west, south - north);
}

/**
 * A place in what is sent, as looked at.
 * @param {Axis} axis
 * @param {number} at  pixels
 */
export function expand({ full, squeezed }, at) {
  const next = Math.max(1, squeezed.findIndex((knot) => at <= knot));
  const [s, f] = [squeezed[next - 1], full[next - 1]];
  return f + ((at - s) * (full[next] - f)) / (squeezed[next] - s);
}

/**
 * Between each two knots: start and length.
 * @param {Axis} axis
 */
function spans({ full, squeezed }) {
  return squeezed.slice(1).map((end, i) => ({
    from: [squeezed[i], end - squeezed[i]],
    to: [full[i], full[i + 1] - full[i]],
  }));
}

/** @param {number[]} values */
function last(values) {
  return values[values.length - 1];
}

/**
 * @param {number} x @param {number} y @param {number} width @param {number} height
 * @returns {Box}
 */
function box(x, y, width, height) {
  return [x, y, width, height];
}
