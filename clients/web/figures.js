/** Rolling figures about the last seconds, for people to read. Pure. */

const WINDOW_MS = 2000;
const ROUND_TRIP_WINDOW_MS = 20_000; // inputs come in bursts

/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * @typedef {object} Maker
 * @property {string} name
 * @property {number} share  of the pieces, 0 to 1
 * @property {number} runMs  mean on the device, per piece
 */

/**
 * @typedef {object} Figures
 * @property {number} fps  pictures shown
 * @property {[string, number][]} stages  name and mean milliseconds
 * @property {Maker[]} makers  in the order in which they were first seen
 * @property {number} filledShare  of the pieces, 0 to 1
 * @property {number} rung  the lowest quality's among the frames
 * @property {number | null} roundTripMs  median, input to picture
 */

/** What happened within the window. */
export class RollingFigures {
  constructor() {
    /** @type {number[]} */
    this.pictures = [];
    /** @type {{atMs: number, facts: FrameFacts}[]} */
    this.frames = [];
    /** @type {{atMs: number, ms: number}[]} */
    this.roundTrips = [];
    /** @type {Set<string>} */
    this.makers = new Set();
  }

  /** @param {number} atMs */
  picture(atMs) {
    this.pictures.push(atMs);
  }

  /** @param {FrameFacts} facts @param {number} atMs */
  frame(facts, atMs) {
    this.frames.push({ atMs, facts });
    for (const { maker } of facts.pieces) if (maker !== null) this.makers.add(maker);
  }

  /** @param {number} ms @param {number} atMs */
  roundTrip(ms, atMs) {
    this.roundTrips.push({ atMs, ms });
  }

  /**
   * @param {number} nowMs
   * @returns {Figures}
   */
  read(nowMs) {
    const since = nowMs - WINDOW_MS;
    this.pictures = this.pictures.filter((atMs) => atMs > since);
    this.frames = this.frames.filter(({ atMs }) => atMs > since);
    this.roundTrips = this.roundTrips.filter(({ atMs }) => (
      atMs > nowMs - ROUND_TRIP_WINDOW_MS
    ));
    const pieces = this.frames.flatMap(({ facts }) => facts.pieces);
    const filled = pieces.filter(({ maker }) => maker === null).length;
    return {
      fps: rate(this.pictures),
      stages: meanStages(this.frames.map(({ facts }) => facts)),
      makers: [...this.makers].map((name) => describe(name, pieces)),
      filledShare: filled / Math.max(1, pieces.length),
      rung: Math.max(0, ...this.frames.map(({ facts }) => facts.rung)),
      roundTripMs: median(this.roundTrips.map(({ ms }) => ms)),
    };
  }
}

/**
 * Events a second, by their spacing: unlike a count it is right from the first second on.
 * @param {number[]} timesMs
 */
function rate(timesMs) {
  if (timesMs.length < 2) return 0;
  const lastedMs = timesMs[timesMs.length - 1] - timesMs[0];
  return lastedMs > 0 ? ((timesMs.length - 1) * 1000) / lastedMs : 0;
}

/**
 * @param {FrameFacts[]} frames
 * @returns {[string, number][]}
 */
function meanStages(frames) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { stages } of frames) {
    for (const [name, us] of stages) sums.set(name, (sums.get(name) ?? 0) + us);
  }
  return [...sums].map(([name, us]) => [name, us / frames.length / 1000]);
}

/**
 * @param {string} name
 * @param {import("./protocol.js").Piece[]} pieces
 * @returns {Maker}
 */
function describe(name, pieces) {
  const made = pieces.filter(({ maker }) => maker === name);
  const runUs = made.reduce((sum, piece) => sum + piece.runUs, 0);
  return {
    name,
    share: made.length / Math.max(1, pieces.length),
    runMs: runUs / Math.max(1, made.length) / 1000,
  };
}

/**
 * @param {number[]} values
 * @returns {number | null}
 */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
