/**
 * Sessions for headsets, looked at without one: poses out, poses back, edges put in their place.
 *
 * The page has no sensors. It sends the head of somebody who looks as its camera does; what comes
 * back with a frame says which of these heads the frame was drawn for. docs/vr.md describes all of it.
 */

import { axesOf, eyeOf } from "./camera.js";
import { decodeViews } from "./fmvr.js";
import { expanded, partsOf } from "./fovea.js";
import { sizesOf } from "./viewpoint.js";

const KEPT = 64; // poses that were sent, and frames that came, waiting for each other

/** @typedef {import("./fmvr.js").Views} Views */
/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * The head of somebody who looks as a camera does.
 * @param {import("./camera.js").Pose} pose
 * @returns {{position: number[], orientation: number[]}} see HeadPose in fmvr.js
 */
export function headOf(pose) {
  // About +Y by yaw, then about the head's own +X by -pitch.
  const [sinYaw, cosYaw] = [Math.sin(pose.yaw / 2), Math.cos(pose.yaw / 2)];
  const [sinPitch, cosPitch] = [Math.sin(-pose.pitch / 2), Math.cos(-pose.pitch / 2)];
  return {
    position: eyeOf(pose),
    orientation: [cosYaw * sinPitch, sinYaw * cosPitch, -sinYaw * sinPitch, cosYaw * cosPitch],
  };
}

/** The views of one session. */
export class StereoView {
  /** @param {HTMLCanvasElement} canvas  for edges that are squeezed or not looked at; lies over the picture */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {import("./protocol.js").Description | null} */
    this.description = null;
    this.paints = false;
    this.latencyMs = 0; // from a pose to its picture, as last seen: how far ahead to predict
    this.forget();
  }

  /** Another connection begins: frames count from anew. */
  forget() {
    /** @type {Map<number, Views>} */
    this.frames = new Map();
    /** @type {Map<number, {sentMs: number, orientation: number[], position: number[]}>} */
    this.sent = new Map();
    /** @type {{frame: number, ms: number, asked: object, answered: object} | null} */
    this.echo = null; // of the last picture whose pose came back
  }

  /**
   * @param {import("./protocol.js").Description} description
   * @param {boolean} warped  the pictures are drawn by the late warp, not here
   */
  begin(description, warped) {
    this.description = description;
    const { views, lookedAt } = sizesOf(description);
    const { fovea, overscan } = description;
    this.paints = !warped && (fovea !== undefined || overscan !== undefined);
    this.canvas.hidden = !this.paints;
    if (this.paints) [this.canvas.width, this.canvas.height] = [views * lookedAt[0], lookedAt[1]];
  }

  /** Whether the session is for a headset. */
  get posed() {
    return this.description?.eyes !== undefined;
  }

  /**
   * What to say of the camera.
   * @param {import("./camera.js").Pose | import("./matrix.js").Head} state  a head in a session for
   *   a headset, an orbit camera's pose in any other
   * @param {number} id  of the input, and of the pose in it
   */
  word(state, id) {
    if (!("orientation" in state)) return { camera: state };
    const nowMs = performance.now();
    const { position, orientation } = state;
    const head = { position, orientation };
    this.sent.set(id, { sentMs: nowMs, ...head });
    keepFew(this.sent);
    return { pose: { id, ...head, display_us: Math.round((nowMs + this.latencyMs) * 1000) } };
  }

  /** @param {import("./parts.js").Result} result */
  result({ frame, bytes }) {
    if (this.description?.result !== "FMVR/1") return;
    this.frames.set(frame, decodeViews(bytes));
    keepFew(this.frames);
  }

  /**
   * A frame's picture is on the screen; its result came before its facts, or not at all. The first
   * picture of a pose counts: later ones show how long the head has been still.
   * @param {number} frame
   * @param {number} atMs
   */
  shown(frame, atMs) {
    const views = this.frames.get(frame);
    const asked = views?.posed ? this.sent.get(views.pose.id) : undefined;
    if (views === undefined || asked === undefined) return;
    this.sent.delete(views.pose.id);
    this.latencyMs = atMs - asked.sentMs;
    const { position, orientation } = asked;
    const answered = views.pose;
    this.echo = { frame, ms: this.latencyMs, asked: { position, orientation }, answered };
  }

  /**
   * Put a picture's squeezed edges where they belong, and those that are not looked at away.
   * @param {import("./picture.js").Picture} picture
   * @returns {{width: number, height: number}} the size it is looked at in
   */
  paint({ source, width, height }) {
    const { description } = this;
    if (description === null || !this.paints) return { width, height };
    const context = /** @type {CanvasRenderingContext2D} */ (
      this.canvas.getContext("2d", { alpha: false })
    );
    const { views, drawn, lookedAt } = sizesOf(description);
    for (let view = 0; view < views; view++) {
      context.save();
      context.beginPath();
      context.rect(view * lookedAt[0], 0, ...lookedAt);
      context.clip(); // the margin of one eye's view lies in the other's
      context.translate(view * lookedAt[0] - margin(drawn, lookedAt, 0), -margin(drawn, lookedAt, 1));
      const whole = { x: ends(drawn[0]), y: ends(drawn[1]) };
      for (const { from, to } of partsOf([description.fovea?.[view] ?? whole])) {
        context.drawImage(source, from[0] + (view * width) / views, from[1], from[2], from[3], ...to);
      }
      context.restore();
    }
    return { width: this.canvas.width, height: this.canvas.height };
  }

  /**
   * The same facts, with pieces where they are looked at.
   * @param {FrameFacts} facts
   * @returns {FrameFacts}
   */
  placed(facts) {
    const { description } = this;
    const { fovea, overscan } = description ?? {};
    if (description === null || (fovea === undefined && overscan === undefined)) return facts;
    const { drawn, lookedAt } = sizesOf(description);
    const pieces = facts.pieces.map((piece) => {
      const [x, y, width, height] = fovea ? expanded(fovea, piece.region) : piece.region;
      const view = Math.floor(x / drawn[0]);
      const [left, right] = [x, x + width].map((at) => view * lookedAt[0]
        + within(at - view * drawn[0] - margin(drawn, lookedAt, 0), lookedAt[0]));
      const [top, bottom] = [y, y + height].map((at) =>
        within(at - margin(drawn, lookedAt, 1), lookedAt[1]));
      return { ...piece, region: [left, top, right - left, bottom - top] };
    });
    return { ...facts, pieces };
  }
}

/**
 * Pixels between an edge of a view as drawn and that of what is looked at.
 * @param {number[]} drawn
 * @param {number[]} lookedAt
 * @param {number} axis
 */
function margin(drawn, lookedAt, axis) {
  return (drawn[axis] - lookedAt[axis]) / 2;
}

/** @param {number} side  that is not squeezed, pixels */
function ends(side) {
  return { full: [0, side], squeezed: [0, side] };
}

/** @param {number} at @param {number} side */
function within(at, side) {
  return Math.min(Math.max(at, 0), side);
}

/** @param {Map<number, unknown>} map  in order of arrival */
function keepFew(map) {
  for (const oldest of map.keys()) {
    if (map.size <= KEPT) return;
    map.delete(oldest);
  }
}
