/**
 * Sessions for headsets, looked at without one: poses out, poses back, edges put in their place.
 *
 * The page has no sensors. It sends the head of somebody who looks as its camera does; what comes
 * back with a frame says which of these heads the frame was drawn for. docs/vr.md describes all of it.
 */

import { axesOf, eyeOf } from "./camera.js";
import { decodeViews } from "./fmvr.js";
import { expanded, fullSize, partsOf } from "./fovea.js";

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
  /** @param {HTMLCanvasElement} canvas  for what has squeezed edges; lies over the picture */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {import("./protocol.js").Description | null} */
    this.description = null;
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

  /** @param {import("./protocol.js").Description} description */
  begin(description) {
    this.description = description;
    const { fovea } = description;
    this.canvas.hidden = fovea === undefined;
    if (fovea !== undefined) [this.canvas.width, this.canvas.height] = fullSize(fovea);
  }

  /** Whether the session is for a headset. */
  get posed() {
    return this.description?.eyes !== undefined;
  }

  /**
   * What to say of the camera.
   * @param {import("./camera.js").Pose} pose
   * @param {number} id  of the input, and of the pose in it
   */
  word(pose, id) {
    if (!this.posed) return { camera: pose };
    const nowMs = performance.now();
    const head = headOf(pose);
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
   * Put a picture's squeezed edges where they belong.
   * @param {import("./picture.js").Picture} picture
   * @returns {{width: number, height: number}} the size it is looked at in
   */
  paint({ source, width, height }) {
    const fovea = this.description?.fovea;
    if (fovea === undefined) return { width, height };
    const context = /** @type {CanvasRenderingContext2D} */ (
      this.canvas.getContext("2d", { alpha: false })
    );
    for (const { from, to } of partsOf(fovea)) context.drawImage(source, ...from, ...to);
    return { width: this.canvas.width, height: this.canvas.height };
  }

  /**
   * The same facts, with pieces where they are looked at.
   * @param {FrameFacts} facts
   * @returns {FrameFacts}
   */
  placed(facts) {
    const fovea = this.description?.fovea;
    if (fovea === undefined) return facts;
    const pieces = facts.pieces.map(
      (piece) => ({ ...piece, region: expanded(fovea, piece.region) }),
    );
    return { ...facts, pieces };
  }
}

/** @param {Map<number, unknown>} map  in order of arrival */
function keepFew(map) {
  for (const oldest of map.keys()) {
    if (map.size <= KEPT) return;
    map.delete(oldest);
  }
}
