/**
 * Shows streams by the product's own code (clients/web), and keeps when each picture was shown.
 * The benchmark carries the SDP: `bench.offer(...)`, `bench.accept(...)`; then `bench.seen(...)`.
 */

import { BarcodeReader, CELL, CELLS, decodeRow } from "/web/barcode.js";
import { showTrack } from "/web/picture.js";

const processor = globalThis.MediaStreamTrackProcessor;
const pairs = 200; // of clock readings; the quickest one counts

/**
 * Read a decoded frame's number without drawing it, which would cost as much as showing it: only
 * the luma of two rows is copied.
 */
async function readFrame(frame, entry) {
  const row = new Uint8Array(CELLS * CELL * 3);
  const rect = { x: 0, y: CELL / 2, width: CELLS * CELL, height: 2 };
  await frame.copyTo(row, { rect });
  frame.close();
  const rgba = new Uint8Array(CELLS * CELL * 4);
  for (let x = 0; x < CELLS * CELL; x++) rgba[4 * x + 1] = row[x];
  entry[2] = decodeRow(rgba);
}

/** In a small <video>, its pictures counted but not read: the least that watching costs. */
function showPlainly(track, counted) {
  const video = document.body.appendChild(document.createElement("video"));
  video.muted = true;
  video.width = 80;
  video.srcObject = new MediaStream([track]);
  const next = () => video.requestVideoFrameCallback(() => { counted(); next(); });
  next();
  video.play();
}

class View {
  /**
   * @param {"canvas" | "video" | "plain"} path  how it is shown; "plain": and not looked at
   * @param {boolean} data  with a data channel, as the product's page has
   */
  constructor(path, data, connection = new RTCPeerConnection()) {
    this.path = path;
    this.shown = []; // [shown at, arrived at (page's milliseconds), number or null] of each picture
    this.arrivedMs = 0;
    this.readings = [];
    this.width = 0;
    this.connection = connection;
    if (data) this.connection.createDataChannel("frames", { negotiated: true, id: 1, ordered: false });
  }

  listen() {
    this.connection.ontrack = ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      this.show(track);
    };
    return this;
  }

  show(track) {
    if (this.path === "plain") return showPlainly(track, () => {
      const at = performance.now();
      this.shown.push([at, at, null]);
    });
    const canvas = document.body.appendChild(document.createElement("canvas"));
    const video = document.body.appendChild(document.createElement("video"));
    video.muted = true;
    const reader = new BarcodeReader();
    const picture = ({ source, width }) => {
      const at = performance.now();
      this.width = width;
      const entry = [at, this.path === "canvas" ? this.arrivedMs : at, null];
      this.shown.push(entry);
      if (source instanceof VideoFrame) this.readings.push(readFrame(source.clone(), entry));
      else entry[2] = reader.read(source);
    };
    // The product's page takes the canvas path wherever the browser has it.
    if (this.path === "video") delete globalThis.MediaStreamTrackProcessor;
    showTrack(track, { canvas, video }, picture, new AbortController().signal);
    globalThis.MediaStreamTrackProcessor = processor;
    if (this.path === "canvas") this.noteArrivals(canvas.getContext("2d"));
  }

  /** A picture has arrived when the page begins to draw it. */
  noteArrivals(context) {
    const draw = context.drawImage.bind(context);
    context.drawImage = (...given) => {
      this.arrivedMs = performance.now();
      draw(...given);
    };
  }

  async seen() {
    await Promise.all(this.readings);
    return { shown: this.shown, width: this.width };
  }

  async gathered() {
    const { connection } = this;
    while (connection.iceGatheringState !== "complete") {
      await new Promise((done) => {
        connection.addEventListener("icegatheringstatechange", done, { once: true });
      });
    }
    return connection.localDescription.sdp;
  }

  async offer() {
    this.connection.addTransceiver("video", { direction: "recvonly" });
    await this.connection.setLocalDescription();
    return this.gathered();
  }

  async accept(sdp) {
    await this.connection.setRemoteDescription({ type: "answer", sdp });
  }

  async answer(sdp) {
    await this.connection.setRemoteDescription({ type: "offer", sdp });
    await this.connection.setLocalDescription();
    return this.gathered();
  }

  async statistics() {
    const kept = {};
    (await this.connection.getStats()).forEach((part) => {
      if (part.type === "inbound-rtp" && part.kind === "video") Object.assign(kept, part);
    });
    return kept;
  }
}

const views = [];

/** Show what another page's connection receives; how it waits is that page's own affair. */
export function adopt(connection, track) {
  const view = new View("canvas", false, connection);
  views.push(view);
  view.show(track);
}

globalThis.bench = {
  /** A new view; its number. */
  open: (path, data = true) => views.push(new View(path, data).listen()) - 1,
  offer: (view) => views[view].offer(),
  accept: (view, sdp) => views[view].accept(sdp),
  answer: (view, sdp) => views[view].answer(sdp),
  views: () => views.length,
  count: (view) => views[view].shown.length,
  seen: (view) => views[view].seen(),
  statistics: (view) => views[view].statistics(),
  close: () => { for (const { connection } of views) connection.close(); },

  /** [what to add to this page's milliseconds for the machine's clock, how wrong at most]. */
  async clock() {
    const socket = new WebSocket(new URL("/clock", import.meta.url));
    await new Promise((done) => { socket.onopen = done; });
    let best = [0, Infinity];
    for (let pair = 0; pair < pairs; pair++) {
      const asked = performance.now();
      socket.send("");
      const { data } = await new Promise((done) => { socket.onmessage = done; });
      const heard = performance.now();
      const wrong = (heard - asked) / 2;
      if (wrong < best[1]) best = [Number(data) - (asked + heard) / 2, wrong];
    }
    socket.close();
    return best;
  },
};
