/**
 * What a page and a gateway say to each other, as types and as checks of what comes in.
 * The wire is described in docs/protocol-browser.md.
 */

/**
 * An error as it travels: what happened, why, and what to do.
 * @typedef {{code: string, what: string, why: string, fix: string}} Problem
 */

/**
 * One piece of a frame; `maker` is null where nothing came in time.
 * @typedef {object} Piece
 * @property {number[]} region  a picture's: x, y, width, height, pixels; a sweep's: azimuth from
 *   and to, degrees counter-clockwise from forward
 * @property {string | null} maker  `node/device`
 * @property {number} queueUs  waited on the device, microseconds
 * @property {number} runUs  ran on the device, microseconds
 */

/**
 * The facts of one frame.
 * @typedef {object} FrameFacts
 * @property {number} frame  frame id, counts up
 * @property {number} input  id of the last input that shaped it, -1 before the first
 * @property {number} openedUs  on the gateway's clock, microseconds
 * @property {[string, number][]} stages  name and microseconds, in the order they happened
 * @property {number} resultBytes  of its result, 0 if it has none
 * @property {number} resultParts  messages that its result comes in; 0 if it does not come
 * @property {Piece[]} pieces
 * @property {number} filled  how many pieces never came
 * @property {number} rung  at which it was made; 0 is full quality
 */

/**
 * What the gateway says of a session. Workloads add to it; what is not known is not used.
 * @typedef {object} Description
 * @property {string} [workload]
 * @property {string} [title]
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [fps]
 * @property {import("./camera.js").Pose} [camera]  where to begin
 * @property {{low: number[], high: number[]}} [bounds]  of the scene, metres
 * @property {number} [turntable]  radians per second that the camera turns until the first input
 * @property {boolean} [pictures]  whether it makes pictures
 * @property {string} [result]  the encoding of its results, `FMBX/1` or `FMVR/1` for instance
 * @property {number} [sensor_height_m]  above the ground
 * @property {{right: number, turn: number, tangents: number[]}[]} [eyes]  of a session for a headset, from the left
 * @property {number} [near]  metres, of their near plane
 * @property {number[]} [overscan]  sides of each view as drawn to those as looked at, across and down
 * @property {import("./fovea.js").Fovea[]} [fovea]  of each view, where edges are squeezed
 */

const LOSSY = { negotiated: true, ordered: false, maxRetransmits: 0 };

/** Both channels, as either side creates them. */
export const FRAMES_CHANNEL = { label: "frames", options: { ...LOSSY, id: 1 } };
export const INPUT_CHANNEL = { label: "input", options: { ...LOSSY, id: 2 } };

const MAX_PIECES = 4096;
const MAX_STAGES = 16;
const MAX_REGION = 8; // numbers

/** A Problem, thrown. */
export class ProblemError extends Error {
  /**
   * @param {Problem} problem
   * @param {{status?: number, retryAfterMs?: number}} [answer]  of the HTTP answer it came in
   */
  constructor(problem, { status = 0, retryAfterMs = 0 } = {}) {
    super(`${problem.what}: ${problem.why}. ${problem.fix}`);
    this.name = "ProblemError";
    this.problem = problem;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Decode one text message of the frames channel.
 * @param {string} text
 * @returns {{facts: FrameFacts} | {closed: string} | {quiet: true} | {leaving: true}}
 * @throws {ProblemError} if it is none of these
 */
export function parseMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw malformed("it is not JSON");
  }
  if (typeof message?.closed === "string") return { closed: message.closed };
  if (message?.quiet === true) return { quiet: true };
  if (message?.leaving === true) return { leaving: true };
  return { facts: parseFacts(message) };
}

/** @param {any} message */
function parseFacts(message) {
  for (const name of ["frame", "input", "opened_us", "filled"]) {
    if (!Number.isSafeInteger(message?.[name])) throw malformed(`'${name}' is not a whole number`);
  }
  const { stages, makers, pieces } = message;
  if (typeof stages !== "object" || stages === null) throw malformed("it has no stages");
  if (!Array.isArray(makers) || !Array.isArray(pieces)) throw malformed("it has no pieces");
  if (pieces.length > MAX_PIECES) throw malformed(`it has over ${MAX_PIECES} pieces`);
  return {
    frame: message.frame,
    input: message.input,
    openedUs: message.opened_us,
    stages: parseStages(stages),
    resultBytes: Number(message.result_bytes) || 0,
    resultParts: Number(message.result_parts) || 0,
    pieces: pieces.map((piece) => parsePiece(piece, makers)),
    filled: message.filled,
    rung: Number(message.rung) || 0,
  };
}

/**
 * @param {Record<string, unknown>} stages
 * @returns {[string, number][]}
 */
function parseStages(stages) {
  return Object.entries(stages)
    .slice(0, MAX_STAGES)
    .map(([name, us]) => [name, Math.max(0, Number(us) || 0)]);
}

/**
 * @param {unknown} piece
 * @param {unknown[]} makers
 * @returns {Piece}
 */
function parsePiece(piece, makers) {
  if (!Array.isArray(piece) || piece.length < 3 || !piece.every(Number.isFinite)) {
    throw malformed("a piece is not three numbers and those of its region");
  }
  if (piece.length > 3 + MAX_REGION) throw malformed("a piece's region has too many numbers");
  const [maker, queueUs, runUs] = piece.slice(-3);
  const name = maker === -1 ? null : makers[maker];
  if (name !== null && typeof name !== "string") throw malformed("a piece's maker has no name");
  return { region: piece.slice(0, -3), maker: name, queueUs, runUs };
}

/** @param {string} why */
function malformed(why) {
  return new ProblemError({
    code: "protocol",
    what: "a message about a frame cannot be read",
    why,
    fix: "Reload the page: it and the gateway may be of different versions.",
  });
}
