/**
 * Draws what is known of a sweep as it looks from above: points, boxes, who looked where.
 *
 * x forward is up, y left is left, the sensor in the middle; see viewport.js.
 */

import { CLASSES, CUT } from "./fmbx.js";
import { CLASS_COLOURS, FILLED_COLOUR, pointShade, pointShades } from "./palette.js";
import { toScreen } from "./viewport.js";

const RINGS = [10, 20, 50]; // metres
const RIM = 54; // metres: where the sectors' makers are shown
const RIM_WIDTH = 3; // CSS pixels
const POINT_SIZE = 1.6; // CSS pixels, from afar
const POINT_METRES = 0.07; // from near
const BOX_MARGIN = 0.15; // metres around a box that its points may lie
const NAMES_FROM = 5; // pixels per metre: below, names would cover what they name
const NUMBERS_FROM = 16;
const TICK = 0.9; // metres ahead of the box
const PLATE_HEIGHT = 15; // CSS pixels
const PLATE_MARGIN = 6;
const PLATE_BELOW = 10;
const EGO = { length: 4.2, width: 1.8 };
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";

/** @typedef {import("./fmbx.js").Sweep} Sweep */
/** @typedef {import("./protocol.js").Piece} Piece */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./viewport.js").Area} Area */

/** A canvas that fills its element, drawn once per display frame at most. */
export class TopView {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./palette.js").MakerColours} colours
   * @param {() => void} resized
   */
  constructor(canvas, colours, resized) {
    this.canvas = canvas;
    this.colours = colours;
    this.context = /** @type {CanvasRenderingContext2D} */ (
      canvas.getContext("2d", { alpha: false })
    );
    /** @type {Viewport} */
    this.view = { x: 0, y: 0, scale: 6 };
    /** @type {Area} */
    this.area = { left: 0, top: 0, width: 1, height: 1 };
    /** @type {Sweep | null} */
    this.sweep = null;
    /** @type {Piece[]} */
    this.pieces = [];
    this.sectors = true; // show them
    this.sensorHeight = 0; // metres above the ground
    this.pending = 0;
    new ResizeObserver(() => {
      resized();
      this.redraw();
    }).observe(canvas);
  }

  /** @param {Sweep | null} sweep */
  show(sweep) {
    this.sweep = sweep;
    this.redraw();
  }

  /** @param {Piece[]} pieces  who made which sector of what is shown */
  showSectors(pieces) {
    this.pieces = pieces;
    this.redraw();
  }

  /**
   * @param {Viewport} view
   * @param {Area} area
   */
  look(view, area) {
    this.view = view;
    this.area = area;
    this.redraw();
  }

  /** Draw with the next display frame. */
  redraw() {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      this.#draw();
    });
  }

  #draw() {
    const { canvas, context } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (wide === 0 || high === 0) return; // not shown
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#0b0d10";
    context.fillRect(0, 0, width, height);
    this.#rings();
    if (this.sectors) this.#rim();
    if (this.sweep !== null) {
      this.#points(this.sweep);
      this.#boxes(this.sweep);
    }
    this.#ego();
    this.#ringLabels();
  }

  /** @param {number} x @param {number} y  metres @returns {[number, number]} */
  #at(x, y) {
    return toScreen(this.view, this.area, x, y);
  }

  #rings() {
    const { context, view } = this;
    const [u, v] = this.#at(0, 0);
    context.lineWidth = 1;
    context.strokeStyle = "rgb(255 255 255 / 15%)";
    for (const radius of RINGS) {
      context.beginPath();
      context.arc(u, v, radius * view.scale, 0, 2 * Math.PI);
      context.stroke();
    }
    context.strokeStyle = "rgb(255 255 255 / 6%)";
    context.beginPath();
    for (const [x, y] of [[1, 0], [0, 1]]) {
      context.moveTo(...this.#at(-50 * x, -50 * y));
      context.lineTo(...this.#at(50 * x, 50 * y));
    }
    context.stroke();
  }

  #ringLabels() {
    const { context } = this;
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const radius of RINGS) {
      const [u, v] = this.#at(radius * Math.SQRT1_2, -radius * Math.SQRT1_2);
      this.#plate(`${radius} m`, u, v, "#8794a5");
    }
  }

  /** Who looked at which sector of the last frame; where nobody did it is hatched. */
  #rim() {
    const { context, view } = this;
    const [u, v] = this.#at(0, 0);
    const radius = RIM * view.scale;
    for (const { region, maker } of this.pieces) {
      if (region.length !== 2) continue;
      // Canvas angles grow clockwise from the right; azimuths counter-clockwise from the top.
      const [from, to] = region.map((degrees) => (-90 - degrees) * (Math.PI / 180));
      context.beginPath();
      if (maker === null) {
        context.moveTo(u, v);
        context.arc(u, v, radius, to, from);
        context.closePath();
        context.fillStyle = "rgb(255 92 92 / 10%)";
        context.fill();
      }
      context.beginPath();
      const gap = Math.min(2 / radius, (from - to) / 4); // apart from its neighbours
      context.arc(u, v, radius, to + gap, from - gap);
      context.lineWidth = RIM_WIDTH;
      context.strokeStyle = maker === null ? FILLED_COLOUR : this.colours.of(maker);
      context.stroke();
    }
  }

  /** @param {Sweep} sweep */
  #points({ cloud, boxes }) {
    if (cloud === null) return;
    const { context, view, area } = this;
    const size = Math.max(POINT_SIZE, POINT_METRES * view.scale);
    const half = size / 2;
    const shades = pointShades.length;
    const kinds = classesOfPoints(cloud, boxes);
    // One colour after the other: setting it for each point would cost more than the points.
    /** @type {number[][]} */
    const byColour = Array.from({ length: shades + CLASSES.length }, () => []);
    for (let i = 0; i < cloud.count; i += 1) {
      const kind = kinds[i];
      const height = cloud.positions[3 * i + 2] / 100 + this.sensorHeight;
      const shade = pointShade(height, cloud.intensities[i] / 255);
      byColour[kind > 0 ? shades + kind : shade].push(i);
    }
    const left = area.left + area.width / 2 + view.y * view.scale - half;
    const top = area.top + area.height / 2 + view.x * view.scale - half;
    const scale = view.scale / 100;
    byColour.forEach((members, colour) => {
      context.fillStyle = colour < shades
        ? pointShades[colour] : CLASS_COLOURS[CLASSES[colour - shades]];
      for (const i of members) {
        context.fillRect(
          left - cloud.positions[3 * i + 1] * scale, top - cloud.positions[3 * i] * scale,
          size, size,
        );
      }
    });
  }

  /** @param {Sweep} sweep */
  #boxes({ boxes }) {
    const all = [...Array(boxes.count).keys()];
    const known = all.filter((i) => boxes.classes[i] > 0);
    const others = all.filter((i) => boxes.classes[i] === 0);
    for (const i of [...others, ...known]) this.#box(boxes, i); // what has a class lies on top
    const { scale } = this.view;
    if (scale < NAMES_FROM) return;
    const far = (/** @type {number} */ i) => (
      Math.hypot(boxes.centres[3 * i], boxes.centres[3 * i + 1])
    );
    known.sort((a, b) => far(a) - far(b)); // of names that would overlap the nearest thing's stays
    this.#names(boxes, scale < NUMBERS_FROM ? known : [...known, ...others]);
  }

  /**
   * @param {import("./fmbx.js").Boxes} boxes
   * @param {number} i
   */
  #box(boxes, i) {
    const { context, view } = this;
    const [x, y] = boxes.centres.subarray(3 * i, 3 * i + 2);
    const [length, width] = boxes.sizes.subarray(3 * i, 3 * i + 2);
    const [u, v] = this.#at(x, y);
    const known = boxes.classes[i] > 0;
    const colour = CLASS_COLOURS[CLASSES[boxes.classes[i]]];
    context.save();
    context.translate(u, v);
    context.rotate(-boxes.yaws[i]);
    context.scale(view.scale, view.scale);
    context.beginPath(); // the box's length points up the screen where its yaw is 0
    context.rect(-width / 2, -length / 2, width, length);
    context.globalAlpha = known ? 0.16 : 0.06;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = known ? 1 : 0.55;
    context.strokeStyle = colour;
    context.lineWidth = (known ? 1.5 : 1) / view.scale;
    if (boxes.flags[i] & CUT) context.setLineDash([4 / view.scale, 3 / view.scale]);
    context.stroke();
    if (known) {
      // Its axis is known, which of its ends is the front is not: the tick is at the farther
      // end along +x, where what drives the same way has it.
      context.setLineDash([]);
      context.beginPath();
      context.moveTo(0, -length / 4);
      context.lineTo(0, -length / 2 - TICK);
      context.stroke();
    }
    context.restore();
  }

  /**
   * Names below boxes, each unless it would lie over one before it.
   * @param {import("./fmbx.js").Boxes} boxes
   * @param {number[]} order
   */
  #names(boxes, order) {
    const { context, view } = this;
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    /** @type {{u: number, v: number, width: number}[]} */
    const placed = [];
    for (const i of order) {
      const [x, y] = boxes.centres.subarray(3 * i, 3 * i + 2);
      const [length, width] = boxes.sizes.subarray(3 * i, 3 * i + 2);
      const name = CLASSES[boxes.classes[i]];
      const text = view.scale < NUMBERS_FROM
        ? name : `${name} #${i} · ${Math.hypot(x, y).toFixed(0)} m`;
      const yaw = boxes.yaws[i];
      const down = (Math.abs(length * Math.cos(yaw)) + Math.abs(width * Math.sin(yaw))) / 2;
      const [u, middle] = this.#at(x, y);
      const wide = context.measureText(text).width + PLATE_MARGIN;
      const plate = { u, v: middle + down * view.scale + PLATE_BELOW, width: wide };
      if (placed.some((other) => overlap(plate, other))) continue;
      placed.push(plate);
      this.#plate(text, plate.u, plate.v, CLASS_COLOURS[name]);
    }
  }

  /**
   * Text on a plate that keeps it legible over points.
   * @param {string} text @param {number} u @param {number} v @param {string} colour
   */
  #plate(text, u, v, colour) {
    const { context } = this;
    const width = context.measureText(text).width + PLATE_MARGIN;
    context.fillStyle = "rgb(11 13 16 / 72%)";
    context.beginPath();
    context.roundRect(u - width / 2, v - PLATE_HEIGHT / 2, width, PLATE_HEIGHT, 4);
    context.fill();
    context.fillStyle = colour;
    context.fillText(text, u, v + 0.5);
  }

  /** The vehicle that carries the sensor. */
  #ego() {
    const { context, view } = this;
    const { length, width } = EGO;
    context.save();
    context.translate(...this.#at(0, 0));
    context.scale(view.scale, view.scale);
    context.beginPath();
    context.roundRect(-width / 2, -length / 2, width, length, 0.5);
    context.fillStyle = "#1b2027";
    context.fill();
    context.lineWidth = 1.25 / view.scale;
    context.strokeStyle = "#e9ecf0";
    context.stroke();
    context.beginPath(); // an arrow head: forward
    context.moveTo(0, -length * 0.36);
    context.lineTo(width * 0.27, -length * 0.08);
    context.lineTo(-width * 0.27, -length * 0.08);
    context.closePath();
    context.fillStyle = "#e9ecf0";
    context.fill();
    context.restore();
  }
}

/**
 * @param {{u: number, v: number, width: number}} a
 * @param {{u: number, v: number, width: number}} b
 */
function overlap(a, b) {
  return Math.abs(a.v - b.v) < PLATE_HEIGHT && Math.abs(a.u - b.u) < (a.width + b.width) / 2;
}

/**
 * The class of the box that each point lies in, 0 where it lies in none of a class.
 * @param {import("./fmbx.js").Cloud} cloud
 * @param {import("./fmbx.js").Boxes} boxes
 */
function classesOfPoints(cloud, boxes) {
  const kinds = new Uint8Array(cloud.count);
  for (let b = 0; b < boxes.count; b += 1) {
    if (boxes.classes[b] === 0) continue;
    const [x, y, z] = boxes.centres.subarray(3 * b, 3 * b + 3);
    const [length, width, height] = boxes.sizes.subarray(3 * b, 3 * b + 3);
    const [cosine, sine] = [Math.cos(boxes.yaws[b]), Math.sin(boxes.yaws[b])];
    const [along, across] = [length / 2 + BOX_MARGIN, width / 2 + BOX_MARGIN];
    for (let i = 0; i < cloud.count; i += 1) {
      const dx = cloud.positions[3 * i] / 100 - x;
      const dy = cloud.positions[3 * i + 1] / 100 - y;
      if (Math.abs(dx * cosine + dy * sine) > along) continue;
      if (Math.abs(dy * cosine - dx * sine) > across) continue;
      const dz = cloud.positions[3 * i + 2] / 100 - z;
      // From a hand above the ground, which is the road's.
      if (dz < height / 2 + BOX_MARGIN && dz > 0.25 - height / 2) kinds[i] = boxes.classes[b];
    }
  }
  return kinds;
}
