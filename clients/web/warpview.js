/**
 * Shows a session's pictures through the late warp: each from where the camera is by then, as often
 * as the display asks, however seldom pictures come.
 *
 * A picture and what it was drawn from come on different ways. A picture is shown when both are
 * here; until then the one before it stays, seen from where the camera is now. It also stays for a
 * while where pieces of the new one never came: these show the scene from elsewhere. Where nothing
 * says any more what pictures were drawn from, they are shown as they come.
 */

import { LateWarp } from "./latewarp.js";
import { cropOf, sizesOf, warpOf } from "./viewpoint.js";

const HOLD_MS = 300;

/** @typedef {import("./protocol.js").Description} Description */
/** @typedef {import("./fmvr.js").Views} Views */

/**
 * A picture that waits for its frame's views, or is shown.
 * @typedef {object} Drawn
 * @property {number} serial  of the picture
 * @property {number} frame  -1 where that is not known
 * @property {boolean} whole  all its pieces came
 * @property {Views | null} views
 */

/**
 * What was put on the screen.
 * @typedef {object} Presented
 * @property {number} frame
 * @property {boolean} warped  rather than shown as it came
 * @property {number} atMs
 */

export class WarpView {
  /**
   * @param {HTMLCanvasElement} canvas  lies over the picture
   * @param {(frame: number) => Views | undefined} viewsOf  of frames whose result came
   */
  constructor(canvas, viewsOf) {
    this.canvas = canvas;
    this.viewsOf = viewsOf;
    this.asked = true;
    /** @type {WebGL2RenderingContext | null | undefined} undefined: not tried yet */
    this.gl = undefined;
    /** @type {LateWarp | null} */
    this.warp = null;
    /** @type {LateWarp | null} */
    this.made = null; // for all sessions of this page
    /** @type {Description | null} */
    this.description = null;
    /** @type {Drawn | null} */
    this.waiting = null; // for its frame's views
    /** @type {Drawn | null} */
    this.current = null;
    this.newest = -1; // serial
    this.unknownSinceMs = Infinity; // that the newest pictures' frames are not known
    this.wholeAtMs = -Infinity; // when a picture of which all pieces came was taken up
    this.shownKey = "";
    canvas.addEventListener("webglcontextlost", () => this.#lost());
  }

  /** Whether pictures are drawn here. */
  get active() {
    return this.warp !== null;
  }

  /** Another connection begins. */
  forget() {
    [this.waiting, this.current, this.newest, this.shownKey] = [null, null, -1, ""];
    this.unknownSinceMs = Infinity;
  }

  /**
   * A session began: draw its pictures if it says what they are drawn from, and WebGL2 is there.
   * @param {Description} description
   */
  begin(description) {
    this.description = description;
    this.warp = this.asked && description.result === "FMVR/1" ? this.#open() : null;
    this.canvas.hidden = this.warp === null;
    if (this.warp === null) return;
    const { views, lookedAt } = sizesOf(description);
    [this.canvas.width, this.canvas.height] = [views * lookedAt[0], lookedAt[1]];
  }

  /** Width and height of what is shown, pixels. */
  get size() {
    return { width: this.canvas.width, height: this.canvas.height };
  }

  /**
   * A picture is decoded, and lent until this returns.
   * @param {CanvasImageSource} source
   * @param {number} nowMs
   * @returns {number} what to say of it when its frame is known
   */
  take(source, nowMs) {
    if (this.warp === null) return -1;
    this.newest = this.warp.take(source, this.current?.serial ?? -1);
    this.unknownSinceMs = Math.min(this.unknownSinceMs, nowMs);
    return this.newest;
  }

  /**
   * A picture's frame is known.
   * @param {number} serial
   * @param {number} frame
   * @param {boolean} whole  all its pieces came
   * @param {number} nowMs
   */
  matched(serial, frame, whole, nowMs) {
    if (this.warp === null || serial <= (this.current?.serial ?? -1)) return;
    this.waiting = { serial, frame, whole, views: null };
    this.arrived(frame, nowMs);
  }

  /**
   * A frame's views came, before its facts or after.
   * @param {number} frame
   * @param {number} nowMs
   */
  arrived(frame, nowMs) {
    const { waiting } = this;
    const views = this.viewsOf(frame);
    if (waiting?.frame !== frame || views === undefined) return;
    this.waiting = null;
    if (!this.warp?.has(waiting.serial)) return; // it took too long
    this.unknownSinceMs = waiting.serial === this.newest ? Infinity : nowMs;
    if (waiting.whole) this.wholeAtMs = nowMs;
    else if (this.current !== null && nowMs - this.wholeAtMs < HOLD_MS) return;
    this.current = { ...waiting, views };
  }

  /**
   * Draw, if that changes anything.
   * @param {number[][] | null} now  clip from world of each view, where the camera is now; null to
   *   show pictures as they were drawn
   * @param {number} nowMs
   * @returns {Presented | null}  null if nothing changed
   */
  present(now, nowMs) {
    const { width, height } = this.canvas;
    const count = this.description?.eyes?.length ?? 1;
    const boxes = [...Array(count).keys()].map((view) => ({
      view, box: [(view * width) / count, 0, width / count, height],
    }));
    return this.#present(now, null, boxes, nowMs);
  }

  /**
   * Draw into what a headset shows.
   * @param {number[][]} now  clip from world of each box
   * @param {WebGLFramebuffer | null} target
   * @param {{view: number, box: import("./latewarp.js").Box}[]} boxes  whose eye sees what
   * @param {number} nowMs
   */
  presentIn(now, target, boxes, nowMs) {
    this.shownKey = ""; // a headset wants every frame drawn
    return this.#present(now, target, boxes, nowMs);
  }

  /**
   * @param {number[][] | null} now
   * @param {WebGLFramebuffer | null} target
   * @param {{view: number, box: number[]}[]} boxes
   * @param {number} atMs
   * @returns {Presented | null}
   */
  #present(now, target, boxes, atMs) {
    const { warp, description } = this;
    const drawn = this.#toShow(atMs);
    if (warp === null || description === null || drawn === null) return null;
    const warps = boxes.map(({ view }, i) => {
      const from = drawn.views?.matrices[view];
      return now === null || from === undefined ? cropOf(description) : warpOf(now[i], from);
    });
    const key = `${drawn.serial} ${warps}`;
    if (key === this.shownKey) return null;
    this.shownKey = key;
    const layout = {
      count: description.eyes?.length ?? 1, sent: sentSize(description), fovea: description.fovea,
    };
    warp.clear(target);
    boxes.forEach(({ view, box }, i) => warp.draw(
      drawn.serial, view, layout, now === null ? null : drawn.views, warps[i],
      /** @type {import("./latewarp.js").Box} */ (box),
    ));
    return { frame: drawn.frame, warped: now !== null && drawn.views !== null, atMs };
  }

  /**
   * @param {number} nowMs
   * @returns {Drawn | null}
   */
  #toShow(nowMs) {
    if (this.current !== null && nowMs - this.unknownSinceMs < HOLD_MS) return this.current;
    return this.newest < 0 ? null : { serial: this.newest, frame: -1, whole: true, views: null };
  }

  /** @returns {LateWarp | null} */
  #open() {
    if (this.gl === undefined) this.gl = this.canvas.getContext("webgl2", { antialias: false });
    if (this.gl === null || this.gl.isContextLost()) return null;
    try {
      this.made ??= new LateWarp(this.gl);
    } catch (error) {
      console.warn(error);
    }
    return this.made;
  }

  #lost() {
    this.warp = null;
    this.canvas.hidden = true;
  }
}

/**
 * @param {Description} description
 * @returns {[number, number]}
 */
function sentSize({ width = 0, height = 0, eyes }) {
  return [width / (eyes?.length ?? 1), height];
}
