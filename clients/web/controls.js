/**
 * Mouse, touch, wheel and keys to camera poses.
 *
 * Drag: orbit, or, where somebody's eyes are shown, look around. Right or middle button, or shift with drag: slide. Wheel, pinch: nearer, farther.
 * Two fingers: slide and pinch. WASD, Q, E: fly (shift: faster). Arrows: look around. R: start.
 */

import { DEFAULT_POSE, dolly, look, move, orbit, pan, reachOf, samePose } from "./camera.js";

const DRAG_TURN = Math.PI; // radians per height of the picture
const DRAG_LOOK = Math.PI / 2; // likewise: about what an eye's view spans
const LOOK_TURN_PER_S = 1.2; // radians
const FLY_PER_S = 0.5; // of the first distance to the target
const FASTER = 4;
const WHEEL_PER_PIXEL = 0.0015;
const PIXELS_PER_LINE = 16;

/** Keys by position on the keyboard, so that WASD lie together on any layout. */
const FLY_KEYS = new Map([
  ["KeyD", [1, 0, 0]], ["KeyA", [-1, 0, 0]],
  ["KeyE", [0, 1, 0]], ["KeyQ", [0, -1, 0]],
  ["KeyS", [0, 0, 1]], ["KeyW", [0, 0, -1]],
]);
const LOOK_KEYS = new Map([
  ["ArrowLeft", [1, 0]], ["ArrowRight", [-1, 0]],
  ["ArrowUp", [0, -1]], ["ArrowDown", [0, 1]],
]);

/** @typedef {import("./camera.js").Pose} Pose */

/** Turns what happens on `surface` (and on the keyboard) into poses. */
export class Controls {
  /**
   * @param {HTMLElement} surface
   * @param {() => void} changed  the pose may have changed, or `step` wants to be called
   */
  constructor(surface, changed) {
    this.surface = surface;
    this.changed = changed;
    /** @type {Pose} */
    this.home = DEFAULT_POSE;
    /** @type {Pose} */
    this.pose = DEFAULT_POSE;
    this.reach = reachOf(DEFAULT_POSE);
    this.moved = false;
    this.looks = false; // through a head's eyes, rather than at something
    this.active = true; // until the session turns out to have no camera to move
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    /** @type {Set<string>} */
    this.held = new Set();
    this.fast = false;
    this.#listen();
  }

  /** Whether a held key keeps moving the camera. */
  get busy() {
    return this.held.size > 0;
  }

  /**
   * A session began; a camera that was moved already stays where it is.
   * @param {import("./protocol.js").Description} description
   */
  begin({ camera, bounds, eyes }) {
    this.active = true;
    this.looks = eyes !== undefined;
    this.home = camera ?? DEFAULT_POSE;
    this.reach = reachOf(this.home, bounds);
    if (!this.moved) this.pose = this.home;
  }

  /**
   * Nobody has moved the camera yet, and the session turns it by itself: whoever takes over goes
   * on from what is shown.
   * @param {number} byYaw  radians since the session began
   */
  turned(byYaw) {
    if (!this.moved) this.pose = { ...this.home, yaw: this.home.yaw + byYaw };
  }

  /** There is no camera to move, or it is another's. */
  end() {
    this.active = false;
    this.held.clear();
  }

  /** Back to where the session began. */
  reset() {
    if (this.active) this.#set(this.home);
  }

  /**
   * Move the camera there.
   * @param {Pose} pose
   */
  moveTo(pose) {
    if (this.active) this.#set(pose);
  }

  /**
   * Move on by what keys are held.
   * @param {number} seconds
   */
  step(seconds) {
    const metres = this.home.distance * FLY_PER_S * (this.fast ? FASTER : 1) * seconds;
    const turn = LOOK_TURN_PER_S * seconds;
    let pose = this.pose;
    for (const code of this.held) {
      const fly = FLY_KEYS.get(code);
      if (fly) pose = move(pose, [fly[0] * metres, fly[1] * metres, fly[2] * metres], this.reach);
      const turned = LOOK_KEYS.get(code);
      if (turned) pose = look(pose, turned[0] * turn, turned[1] * turn);
    }
    this.#set(pose);
  }

  /** @param {Pose} pose */
  #set(pose) {
    if (samePose(pose, this.pose)) return;
    this.pose = pose;
    this.moved = true;
    this.changed();
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
    surface.addEventListener("contextmenu", (event) => event.preventDefault());
    addEventListener("keydown", (event) => this.#keyDown(event));
    addEventListener("keyup", (event) => this.#keyUp(event));
    addEventListener("blur", () => this.held.clear());
  }

  /** @param {PointerEvent} event */
  #pressed(event) {
    if (!this.active || this.pointers.size >= 2) return;
    this.surface.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  /** @param {PointerEvent} event */
  #dragged(event) {
    const from = this.pointers.get(event.pointerId);
    if (!this.active || from === undefined) return;
    const to = { x: event.clientX, y: event.clientY };
    const height = Math.max(1, this.surface.clientHeight);
    const right = (to.x - from.x) / height;
    const down = (to.y - from.y) / height;
    if (this.pointers.size === 2) this.#pinched(event.pointerId, to, right, down);
    else if (event.shiftKey || (event.buttons & 6) !== 0) {
      this.#set(pan(this.pose, right, down, this.reach));
    } else if (this.looks) {
      this.#set(look(this.pose, right * DRAG_LOOK, -down * DRAG_LOOK));
    } else this.#set(orbit(this.pose, -right * DRAG_TURN, down * DRAG_TURN));
    this.pointers.set(event.pointerId, to);
  }

  /**
   * One of two fingers moved: half a slide, and a pinch.
   * @param {number} id
   * @param {{x: number, y: number}} to
   * @param {number} right
   * @param {number} down
   */
  #pinched(id, to, right, down) {
    const from = /** @type {{x: number, y: number}} */ (this.pointers.get(id));
    for (const [otherId, other] of this.pointers) {
      if (otherId === id) continue;
      const before = Math.hypot(from.x - other.x, from.y - other.y);
      const after = Math.hypot(to.x - other.x, to.y - other.y);
      const nearer = dolly(this.pose, Math.max(before, 1) / Math.max(after, 1), this.reach);
      this.#set(pan(nearer, right / 2, down / 2, this.reach));
    }
  }

  /** @param {WheelEvent} event */
  #scrolled(event) {
    if (!this.active) return;
    event.preventDefault(); // or the page would scroll, or zoom with a trackpad's pinch
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE;
    const pixels = event.deltaY * (lines ? PIXELS_PER_LINE : 1) * (event.ctrlKey ? 4 : 1);
    this.#set(dolly(this.pose, Math.exp(pixels * WHEEL_PER_PIXEL), this.reach));
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    this.fast = event.shiftKey;
    if (!this.active || event.ctrlKey || event.altKey || event.metaKey) return;
    if (!FLY_KEYS.has(event.code) && !LOOK_KEYS.has(event.code)) return;
    event.preventDefault();
    this.held.add(event.code);
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  #keyUp(event) {
    this.fast = event.shiftKey;
    this.held.delete(event.code);
  }
}
