/**
 * What a page and a gateway say to each other, as types and as checks of what comes in.
 * The wire is described in docs/protocol-browser.md.
 */

/**
 * An error as it travels: what happened, why, and what to do.
 * @typedef {{code: string, what: string, why: string, fix: string}} Problem
 */

/**
 * One piece of a frame. Pixels of the picture; `maker` is null where nothing came in time and the
 * frame before was used.
 * @typedef {object} Piece
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
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
 * @property {Piece[]} pieces
 * @property {number} filled  how many pieces were filled
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
 */

const LOSSY = { negotiated: true, ordered: false, maxRetransmits: 0 };

/** Both channels, as either side creates them. */
export const FRAMES_CHANNEL = { label: "frames", options: { ...LOSSY, id: 1 } };
export const INPUT_CHANNEL = { label: "input", options: { ...LOSSY, id: 2 } };

const MAX_PIECES = 4096;
const MAX_STAGES = 16;

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
 * @returns {{facts: FrameFacts} | {closed: string}}
 * @throws {ProblemError} if it is neither
 */
export function parseMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw malformed("it is not JSON");
  }
  if (typeof message?.closed === "string") return { closed: message.closed };
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
    pieces: pieces.map((piece) => parsePiece(piece, makers)),
    filled: message.filled,
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
  if (!Array.isArray(piece) || piece.length !== 7 || !piece.every(Number.isFinite)) {
    throw malformed("a piece is not seven numbers");
  }
  const [x, y, width, height, maker, queueUs, runUs] = piece;
  const name = maker === -1 ? null : makers[maker];
  if (name !== null && typeof name !== "string") throw malformed("a piece's maker has no name");
  return { x, y, width, height, maker: name, queueUs, runUs };
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
