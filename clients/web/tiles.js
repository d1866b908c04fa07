/** Draws, over the picture, which piece came from where. */

import { FILLED_COLOUR } from "./palette.js";

const FILL_ALPHA = 0.06;
const HATCH_STEP = 12; // CSS pixels

/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/** A canvas that lies exactly over the picture. */
export class TileOverlay {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./palette.js").MakerColours} colours
   */
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.drawn = "";
    new ResizeObserver(() => { this.drawn = ""; }).observe(canvas);
  }

  /**
   * @param {FrameFacts} facts  of the picture that is on the screen
   * @param {number} width  of the picture, pixels
   * @param {number} height
   */
  draw(facts, width, height) {
    const wanted = JSON.stringify([
      width, height, facts.pieces.map(({ region, maker }) => [region, maker]),
    ]);
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    const { canvas, context } = this;
    const ratio = devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    context.scale(ratio, ratio);
    const scale = canvas.clientWidth / Math.max(1, width);
    for (const piece of facts.pieces) this.#piece(piece, scale);
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawn = "";
  }

  /**
   * @param {import("./protocol.js").Piece} piece
   * @param {number} scale  CSS pixels per pixel of the picture
   */
  #piece({ region, maker }, scale) {
    const { context } = this;
    const [x, y, width, height] = region;
    const colour = maker === null ? FILLED_COLOUR : this.colours.of(maker);
    const [left, top] = [x * scale, y * scale];
    const [wide, high] = [width * scale, height * scale];
    context.fillStyle = colour;
    context.strokeStyle = colour;
    context.globalAlpha = FILL_ALPHA;
    context.fillRect(left, top, wide, high);
    context.globalAlpha = 0.9;
    context.lineWidth = 1.5;
    context.strokeRect(left + 1.5, top + 1.5, wide - 3, high - 3);
    if (maker === null) this.#hatch(left, top, wide, high);
    context.globalAlpha = 1;
  }

  /** @param {number} left @param {number} top @param {number} wide @param {number} high */
  #hatch(left, top, wide, high) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(left, top, wide, high);
    context.clip();
    context.beginPath();
    for (let at = -high; at < wide; at += HATCH_STEP) {
      context.moveTo(left + at, top + high);
      context.lineTo(left + at + high, top);
    }
    context.stroke();
    context.restore();
  }
}
