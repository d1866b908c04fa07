/**
 * A headset that the browser knows: an immersive WebXR session whose eyes see the stream through
 * the late warp, and whose pose steers it.
 *
 * The headset tracks in a space of its own, which begins at the session's first camera, upright.
 */

import { headFromWorld, rotate, turned } from "./matrix.js";
import { xrView } from "./viewpoint.js";

/** @typedef {import("./matrix.js").Head} Head */

/**
 * Where the space that a headset tracks in lies in the world: its origin is where a camera begins.
 * @param {import("./camera.js").Pose} camera  its turn upwards or downwards is the head's own
 * @param {number[]} eye  where that camera is, metres, world frame
 * @returns {Head}
 */
export function spaceAt({ yaw }, eye) {
  return { position: eye, orientation: [0, Math.sin(yaw / 2), 0, Math.cos(yaw / 2)] };
}

/**
 * A pose of that space, in the world.
 * @param {Head} space
 * @param {Head} pose
 * @returns {Head}
 */
export function inWorld(space, pose) {
  const away = rotate(space.orientation, pose.position);
  return {
    position: space.position.map((at, i) => at + away[i]),
    orientation: turned(space.orientation, pose.orientation),
  };
}

/**
 * @typedef {object} HeadsetEvents
 * @property {(head: Head) => void} moved  once for each picture of the display
 * @property {(on: boolean) => void} worn  it began to show the stream, or ended
 */

/** The button that enters VR, and the session behind it. */
export class HeadsetView {
  /**
   * @param {HTMLElement} button
   * @param {import("./warpview.js").WarpView} warp
   * @param {HeadsetEvents} events
   */
  constructor(button, warp, events) {
    this.button = button;
    this.warp = warp;
    this.events = events;
    /** @type {Head} */
    this.space = { position: [0, 0, 0], orientation: [0, 0, 0, 1] };
    this.near = 1e-3;
    this.eyes = 0;
    this.session = /** @type {any} */ (null); // XRSession: not in TypeScript's library
    button.addEventListener("click", () => {
      this.enter().catch((error) => console.warn("VR was not entered:", error));
    });
  }

  /**
   * A session began: offer to show it in a headset, if it is for one.
   * @param {import("./protocol.js").Description} description
   * @param {Head} space
   */
  async begin({ eyes, near }, space) {
    [this.space, this.near, this.eyes] = [space, near ?? 1e-3, eyes?.length ?? 0];
    this.button.hidden = true;
    const { xr } = /** @type {any} */ (navigator);
    if (!this.eyes || !this.warp.active || xr === undefined) return;
    // Where a policy forbids asking, there is none either.
    this.button.hidden = !(await xr.isSessionSupported("immersive-vr").catch(() => false));
  }

  /** Show the stream in the headset, until its wearer or the page ends it. */
  async enter() {
    const { gl } = this.warp;
    if (this.session !== null || !gl) return;
    const { xr } = /** @type {any} */ (navigator);
    const session = await xr.requestSession("immersive-vr"); // first: it needs the user's click
    await /** @type {any} */ (gl).makeXRCompatible();
    // @ts-ignore: not in TypeScript's library
    const layer = new XRWebGLLayer(session, gl, { antialias: false });
    await session.updateRenderState({ baseLayer: layer });
    const space = await session.requestReferenceSpace("local");
    this.session = session;
    session.addEventListener("end", () => {
      this.session = null;
      this.events.worn(false);
    }, { once: true });
    this.events.worn(true);
    const next = (/** @type {number} */ _, /** @type {any} */ frame) => {
      session.requestAnimationFrame(next);
      const pose = frame.getViewerPose(space);
      if (pose) this.#show(pose, layer);
    };
    session.requestAnimationFrame(next);
  }

  /** Take the headset off, so to speak. */
  leave() {
    this.session?.end();
  }

  /**
   * @param {any} pose  XRViewerPose
   * @param {any} layer  XRWebGLLayer
   */
  #show(pose, layer) {
    this.events.moved(inWorld(this.space, headOf(pose.transform)));
    const spaceFromWorld = headFromWorld(this.space);
    const now = [];
    const boxes = [];
    for (const view of pose.views) {
      const { x, y, width, height } = layer.getViewport(view);
      const { projectionMatrix, transform } = view;
      now.push(xrView(projectionMatrix, transform.inverse.matrix, spaceFromWorld, this.near));
      boxes.push({
        view: view.eye === "right" ? this.eyes - 1 : 0,
        box: /** @type {[number, number, number, number]} */ ([x, y, width, height]),
      });
    }
    this.warp.presentIn(now, layer.framebuffer, boxes, performance.now());
  }
}

/**
 * @param {any} transform  XRRigidTransform
 * @returns {Head}
 */
function headOf({ position: p, orientation: q }) {
  return { position: [p.x, p.y, p.z], orientation: [q.x, q.y, q.z, q.w] };
}
