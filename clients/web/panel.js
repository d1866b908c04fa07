/** The live figures beside the picture, as text and bars. */

import { CLASS_COLOURS, FILLED_COLOUR, stageColour } from "./palette.js";

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** Fills in the panel. */
export class Panel {
  /** @param {import("./palette.js").MakerColours} colours */
  constructor(colours) {
    this.colours = colours;
    this.stages = new Rows(element("stages"));
    this.bar = new Rows(element("bar"), "span");
    this.makers = new Rows(element("makers"));
    this.found = new Rows(element("found"));
    this.sectorStages = new Rows(element("sector-stages"));
  }

  /**
   * @param {import("./figures.js").Figures} figures
   * @param {import("./stream.js").Measured | null} measured
   * @param {{width: number, height: number}} size
   */
  show(figures, measured, { width, height }) {
    element("fps").textContent = figures.fps > 0 ? `${figures.fps.toFixed(1)} fps` : "–";
    element("round-trip").textContent = milliseconds(figures.roundTripMs);
    element("bitrate").textContent = measured === null ? "–" : rate(measured.bitsPerS);
    element("codec").textContent = [measured?.codec, measured?.way?.relayed && "relayed"]
      .filter(Boolean).join(", ");
    const rung = figures.rung > 0 ? `, rung ${figures.rung}` : "";
    element("size").textContent = `${width} × ${height}${rung}`;
    this.#showStages(figures, measured);
    this.#showMakers(figures);
  }

  /**
   * What a session of sweeps has besides.
   * @param {import("./figures.js").Figures} figures
   * @param {import("./stream.js").Measured | null} measured
   * @param {import("./sweepview.js").SweepFigures} sweeps
   */
  showSweeps(figures, measured, { misses, sweep, classes }) {
    element("sweep-rate").textContent = figures.fps > 0 ? `${figures.fps.toFixed(1)} Hz` : "–";
    element("sweep-bitrate").textContent = measured === null ? "–" : rate(measured.bitsPerS);
    element("late").textContent = `${misses.late} of ${misses.sweeps}`;
    element("lost").textContent = `${misses.lost} of ${misses.sweeps}`;
    if (sweep === null) return;
    element("points").textContent = sweep.counts.points.toLocaleString("en");
    element("boxes").textContent = String(sweep.boxes.count);
    this.found.show(classes.map(({ name, count }) => (
      { name, value: String(count), colour: CLASS_COLOURS[name], share: 0 }
    )));
    this.sectorStages.show(sweep.times.slice(1, -1).map(([name, us], i) => (
      { name, value: milliseconds(us / 1000), colour: stageColour(i + 1), share: 0 }
    )));
  }

  /**
   * The gateway's stages, then the way here and the decoder, which this page measured.
   * @param {import("./figures.js").Figures} figures
   * @param {import("./stream.js").Measured | null} measured
   */
  #showStages(figures, measured) {
    const stages = [...figures.stages];
    if (measured?.networkMs) stages.push(["network", measured.networkMs]);
    if (measured?.decodeMs) stages.push(["decode", measured.decodeMs]);
    const total = stages.reduce((sum, [, ms]) => sum + ms, 0);
    element("total").textContent = total > 0 ? milliseconds(total) : "";
    this.stages.show(stages.map(([name, ms], i) => (
      { name, value: milliseconds(ms), colour: stageColour(i), share: 0 }
    )));
    this.bar.show(stages.map(([name, ms], i) => (
      { name: "", value: "", title: name, colour: stageColour(i), share: ms / total }
    )));
  }

  /** @param {import("./figures.js").Figures} figures */
  #showMakers({ makers, filledShare }) {
    const rows = makers.map(({ name, share, runMs }) => ({
      name,
      title: name,
      more: share > 0 ? milliseconds(runMs) : "",
      value: percent(share),
      colour: this.colours.of(name),
      share,
    }));
    if (filledShare > 0) {
      rows.push({
        name: "filled",
        title: "came too late",
        more: "",
        value: percent(filledShare),
        colour: FILLED_COLOUR,
        share: filledShare,
      });
    }
    this.makers.show(rows);
  }
}

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} value
 * @property {string} colour
 * @property {number} share  0 to 1
 * @property {string} [more]
 * @property {string} [title]
 */

/** A list whose elements are reused from one showing to the next. */
class Rows {
  /** @param {HTMLElement} list @param {string} tag */
  constructor(list, tag = "li") {
    this.list = list;
    this.tag = tag;
  }

  /** @param {Row[]} rows */
  show(rows) {
    while (this.list.children.length > rows.length) this.list.lastElementChild?.remove();
    rows.forEach((row, i) => {
      const item = /** @type {HTMLElement} */ (this.list.children[i] ?? this.#add());
      item.style.setProperty("--colour", row.colour);
      item.style.setProperty("--share", row.share.toFixed(3));
      item.title = row.title ?? "";
      [row.name, row.more ?? "", row.value].forEach((text, part) => {
        if (item.children[part].textContent !== text) item.children[part].textContent = text;
      });
    });
  }

  #add() {
    const item = document.createElement(this.tag);
    for (const name of ["name", "more", "value"]) {
      const part = document.createElement("span");
      part.className = name;
      item.append(part);
    }
    this.list.append(item);
    return item;
  }
}

/** @param {number | null} ms */
function milliseconds(ms) {
  if (ms === null) return "–";
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(0)} ms`;
}

/** @param {number} share */
function percent(share) {
  return `${(share * 100).toFixed(0)} %`;
}

/** @param {number} bitsPerS */
function rate(bitsPerS) {
  const megabits = bitsPerS / 1e6;
  return megabits < 1 ? `${(bitsPerS / 1e3).toFixed(0)} kb/s` : `${megabits.toFixed(1)} Mb/s`;
}
