/** The sweeps of a session: their results decoded, drawn, and told of in the panel. */

import { decodeSweep } from "./fmbx.js";
import { MapControls } from "./mapcontrols.js";
import { element } from "./panel.js";
import { MissCounter, countClasses } from "./sweepfigures.js";
import { TopView } from "./topview.js";

const KEPT_FACTS = 8; // frames whose facts are waiting for their results
const SENSOR_HEIGHT_M = 1.73; // unless the session says

/** @typedef {import("./fmbx.js").Sweep} Sweep */
/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * What the panel tells of a session's sweeps.
 * @typedef {object} SweepFigures
 * @property {import("./sweepfigures.js").Misses} misses
 * @property {Sweep | null} sweep  the last that was shown
 * @property {{name: string, count: number}[]} classes  of its boxes
 */

/**
 * Whether this page can draw what such a session's results say.
 * @param {import("./protocol.js").Description} description
 */
export function showsSweeps({ pictures, result }) {
  return pictures === false && /^FMBX\/[12]$/.test(result ?? "");
}

/** What is shown of a session whose results are sweeps'. */
export class SweepView {
  /**
   * @param {HTMLElement} surface
   * @param {HTMLCanvasElement} canvas
   * @param {import("./palette.js").MakerColours} colours
   */
  constructor(surface, canvas, colours) {
    this.map = new TopView(canvas, colours, () => this.resize());
    this.controls = new MapControls(surface, (view, area) => this.map.look(view, area));
    new ResizeObserver(() => this.resize()).observe(element("panel")); // or it is hidden
    this.forget();
  }

  /** Another connection begins: frames count from anew. */
  forget() {
    this.frame = -1; // that is shown
    /** @type {Sweep | null} */
    this.sweep = null;
    /** @type {Map<number, FrameFacts>} */
    this.facts = new Map();
    this.misses = new MissCounter();
  }

  /** @param {import("./protocol.js").Description} description */
  begin(description) {
    this.map.sensorHeight = description.sensor_height_m ?? SENSOR_HEIGHT_M;
    this.controls.active = true;
    this.resize();
  }

  /** Something else is shown. */
  end() {
    this.controls.active = false;
  }

  /** @param {boolean} shown  who made what */
  showSectors(shown) {
    this.map.sectors = shown;
    this.resize();
    this.map.redraw();
  }

  /** The middle of the map is that of the part which no card covers. */
  resize() {
    const { canvas } = this.map;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const panel = element("panel").getBoundingClientRect();
    const beside = panel.width > 0 && panel.width < width / 2;
    const above = panel.width > 0 && !beside && panel.top > height / 4;
    const top = above ? element("header").getBoundingClientRect().bottom : 0;
    this.controls.resize({
      left: 0,
      top,
      width: beside ? panel.left : width,
      height: (above ? panel.top : height) - top,
    });
  }

  /**
   * A frame's result; one older than what is shown is not.
   * @param {import("./parts.js").Result} result
   * @returns {Sweep | null} what is shown now, if it is this
   * @throws {import("./protocol.js").ProblemError}
   */
  show({ frame, bytes }) {
    const sweep = decodeSweep(bytes);
    this.misses.result(frame);
    if (frame <= this.frame) return null;
    this.frame = frame;
    this.sweep = sweep;
    this.map.show(sweep);
    const facts = this.facts.get(frame);
    if (facts) this.map.showSectors(facts.pieces);
    return sweep;
  }

  /** @param {FrameFacts} facts @param {number} atMs */
  addFacts(facts, atMs) {
    this.misses.facts(facts, atMs);
    if (facts.frame === this.frame) this.map.showSectors(facts.pieces);
    this.facts.set(facts.frame, facts);
    if (this.facts.size > KEPT_FACTS) this.facts.delete(Math.min(...this.facts.keys()));
  }

  /**
   * @param {number} nowMs
   * @returns {SweepFigures}
   */
  read(nowMs) {
    return {
      misses: this.misses.read(nowMs),
      sweep: this.sweep,
      classes: this.sweep === null ? [] : countClasses(this.sweep),
    };
  }
}
