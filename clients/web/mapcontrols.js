/**
 * Mouse, touch, wheel and keys to what part of a map is looked at.
 *
 * Drag: slide. Wheel, pinch, + and -: nearer, farther. Arrows: slide. R: start.
 */

import { fit, slide, zoom } from "./viewport.js";

const START_RADIUS = 56; // metres in view at first
const REACH = 150; // metres that the middle may be slid
const WHEEL_PER_PIXEL = 0.0015;
const PIXELS_PER_LINE = 16;
const KEY_ZOOM = 1.25;
const KEY_SLIDE = 60; // CSS pixels
const SLIDES = new Map([
  ["ArrowLeft", [1, 0]], ["ArrowRight", [-1, 0]], ["ArrowUp", [0, 1]], ["ArrowDown", [0, -1]],
]);
const ZOOMS = new Map([["+", KEY_ZOOM], ["=", KEY_ZOOM], ["-", 1 / KEY_ZOOM]]);

/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./viewport.js").Area} Area */

/** Turns what happens on `surface` (and on the keyboard) into viewports, while it is `active`. */
export class MapControls {
  /**
   * @param {HTMLElement} surface
   * @param {(view: Viewport, area: Area) => void} changed
   */
  constructor(surface, changed) {
    this.surface = surface;
    this.changed = changed;
    this.active = false;
    this.moved = false;
    /** @type {Area} */
    this.area = { left: 0, top: 0, width: 1, height: 1 };
    this.view = fit(this.area, START_RADIUS);
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    this.#listen();
  }

  /**
   * The part of the surface that nothing covers has changed.
   * @param {Area} area
   */
  resize(area) {
    this.area = area;
    if (!this.moved) this.view = fit(area, START_RADIUS);
    this.changed(this.view, area);
  }

  /** Back to where it began. */
  reset() {
    this.moved = false;
    this.resize(this.area);
  }

  /** @param {Viewport} view */
  #set(view) {
    this.moved = true;
    this.view = view;
    this.changed(view, this.area);
  }

  #listen() {
    const { surface } = this;
    surface.addEventListener("pointerdown", (event) => this.#pressed(event));
    surface.addEventListener("pointermove", (event) => this.#dragged(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
      surface.addEventListener(type, (event) => {
        this.pointers.delete(/** @type {PointerEvent} */ (event).pointerId);
      });
    }
    surface.addEventListener("wheel", (event) => this.#scrolled(event), { passive: false });
    addEventListener("keydown", (event) => this.#keyDown(event));
  }

  /** @param {PointerEvent} event */
  #pressed(event) {
    if (!this.active || this.pointers.size >= 2) return;
    this.surface.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#place(event));
  }

  /** @param {PointerEvent} event */
  #dragged(event) {
    const from = this.pointers.get(event.pointerId);
    if (!this.active || from === undefined) return;
    const to = this.#place(event);
    const [right, down] = [to.x - from.x, to.y - from.y];
    if (this.pointers.size === 2) this.#pinched(event.pointerId, from, to);
    else this.#set(slide(this.view, right, down, REACH));
    this.pointers.set(event.pointerId, to);
  }

  /**
   * One of two fingers moved: half a slide, and nearer or farther about the middle of both.
   * @param {number} id
   * @param {{x: number, y: number}} from
   * @param {{x: number, y: number}} to
   */
  #pinched(id, from, to) {
    for (const [otherId, other] of this.pointers) {
      if (otherId === id) continue;
      const before = Math.max(1, Math.hypot(from.x - other.x, from.y - other.y));
      const after = Math.max(1, Math.hypot(to.x - other.x, to.y - other.y));
      const slid = slide(this.view, (to.x - from.x) / 2, (to.y - from.y) / 2, REACH);
      const [u, v] = [(to.x + other.x) / 2, (to.y + other.y) / 2];
      this.#set(zoom(slid, this.area, u, v, after / before, REACH));
    }
  }

  /** @param {WheelEvent} event */
  #scrolled(event) {
    if (!this.active) return;
    event.preventDefault(); // or the page would scroll, or zoom with a trackpad's pinch
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE;
    const pixels = event.deltaY * (lines ? PIXELS_PER_LINE : 1) * (event.ctrlKey ? 4 : 1);
    const { x, y } = this.#place(event);
    this.#set(zoom(this.view, this.area, x, y, Math.exp(-pixels * WHEEL_PER_PIXEL), REACH));
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    if (!this.active || event.ctrlKey || event.altKey || event.metaKey) return;
    const { left, top, width, height } = this.area;
    const nearer = ZOOMS.get(event.key);
    const slid = SLIDES.get(event.code);
    if (nearer) {
      this.#set(zoom(this.view, this.area, left + width / 2, top + height / 2, nearer, REACH));
    } else if (slid) {
      this.#set(slide(this.view, slid[0] * KEY_SLIDE, slid[1] * KEY_SLIDE, REACH));
    } else return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  #place(event) {
    const box = this.surface.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
}
