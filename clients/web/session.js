/** Keeps a session open: opens it, notices its end, and opens the next one after a pause. */

import { ProblemError } from "./protocol.js";
import { LEAVING, Stream } from "./stream.js";
import { UNREACHABLE } from "./whep.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const STEADY_MS = 10_000; // a stream that lasted this long was no failure

/** @typedef {"connecting" | "live" | "reconnecting" | "refused"} State */

/**
 * @typedef {Omit<import("./stream.js").StreamEvents, "ready"> & {
 *   state: (state: State, problem: ProblemError | null, pauseMs: number) => void,
 *   opening: () => void,
 *   opened: (description: import("./protocol.js").Description) => void,
 * }} SessionEvents
 */

/**
 * How long to wait before the next attempt. Pure.
 * @param {number} failures  in a row, at least 1
 * @param {number} askedMs  the least that the gateway asked for
 * @param {number} chance  0 to 1: so that many viewers of one gateway do not come back as one
 */
export function pauseMs(failures, askedMs, chance) {
  const longest = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
  return Math.max(askedMs, longest * (0.5 + chance / 2));
}

/**
 * Whether asking again, with nothing changed, may help. Pure.
 * @param {ProblemError} error
 * @param {boolean} wasLive  the same question was answered before
 * @param {boolean} joined  the session is another's: once it has ended it is no more
 */
export function mayPass(error, wasLive, joined = false) {
  if (joined && (error.status === 404 || error.problem.code === "session_ended")) return false;
  if (error.status === 401 || error.status === 403) return false;
  return wasLive || error.status === 0 || error.status >= 500;
}

/** The session that the page shows, through all its connections. */
export class Session {
  /**
   * @param {import("./whep.js").Asked} asked
   * @param {import("./picture.js").Screen} screen
   * @param {SessionEvents} events
   */
  constructor(asked, screen, events) {
    this.asked = asked;
    this.screen = screen;
    this.events = events;
    /** @type {Stream | null} */
    this.stream = null;
    this.failures = 0;
    this.wasLive = false;
    this.left = false;
    /** @type {import("./whep.js").Resumable | null} a session that was lost, to go on with */
    this.lost = null;
    /** @type {string[]} origins of other gateways, the next to ask first */
    this.others = [];
    this.skipPause = () => {};
  }

  /** Open, and open again, until the gateway refuses for good or `leave` is called. */
  async keep() {
    while (!this.left) {
      this.events.state(this.wasLive ? "reconnecting" : "connecting", null, 0);
      const resuming = this.lost !== null;
      const error = await this.#live();
      if (this.left) return;
      if (this.#moves(error, resuming)) continue;
      if (this.lost || resuming) continue; // go on with it at once; or, if that failed, open another
      if (!mayPass(error, this.wasLive, this.asked.session !== "")) {
        this.events.state("refused", error, 0);
        return;
      }
      if (error.problem.code === UNREACHABLE) this.#askNext();
      const waitMs = pauseMs(this.failures, error.retryAfterMs, Math.random());
      this.events.state("reconnecting", error, waitMs);
      await this.#pause(waitMs);
    }
  }

  /**
   * Whether the next gateway is asked at once, because this one says that it leaves, or does not
   * answer whoever would go on with its session. The camera goes along: the page has it.
   * @param {ProblemError} error
   * @param {boolean} resuming
   */
  #moves(error, resuming) {
    const silent = resuming && !this.lost && error.problem.code === UNREACHABLE;
    return (silent || error.problem.code === LEAVING) && this.#askNext();
  }

  /** Have another gateway asked from now on; the one so far is asked again after all others. */
  #askNext() {
    const next = this.asked.session ? undefined : this.others.shift();
    if (next === undefined) return false;
    this.others.push(this.asked.gateway || location.origin);
    this.asked = { ...this.asked, gateway: next };
    return true;
  }

  /** Try now instead of after the pause. */
  hurry() {
    this.skipPause();
  }

  /** End for good. */
  leave() {
    this.left = true;
    this.stream?.close();
    this.skipPause();
  }

  /**
   * One connection, from its opening to its end.
   * @returns {Promise<ProblemError>} why it ended
   */
  async #live() {
    let liveSinceMs = Infinity;
    const live = () => {
      if (liveSinceMs < Infinity) return;
      liveSinceMs = performance.now();
      this.wasLive = true;
      this.events.state("live", null, 0);
    };
    this.events.opening();
    const stream = new Stream(this.asked, this.screen, {
      ...this.events,
      picture: (picture) => {
        live();
        this.events.picture(picture);
      },
      ready: live,
    }, this.lost);
    this.stream = stream;
    this.lost = null;
    try {
      const opened = await Promise.race([stream.open(), stream.ended]);
      if (opened instanceof ProblemError) return opened;
      if (stream.others.length > 0) this.others = stream.others;
      this.events.opened(opened);
      const error = await stream.ended;
      if (error.problem.code === "link_lost" && liveSinceMs < Infinity) {
        this.lost = await stream.abandon();
      }
      return error;
    } catch (error) {
      return this.left ? unforeseen(error) : asProblem(error);
    } finally {
      stream.close();
      const steady = performance.now() - liveSinceMs > STEADY_MS;
      this.failures = steady ? 1 : this.failures + 1;
    }
  }

  /** @param {number} waitMs */
  #pause(waitMs) {
    return /** @type {Promise<void>} */ (new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.skipPause = () => {
        clearTimeout(timer);
        resolve();
      };
    }));
  }
}

/** @param {unknown} error */
function asProblem(error) {
  if (error instanceof ProblemError) return error;
  console.error(error);
  return unforeseen(error);
}

/** @param {unknown} error */
function unforeseen(error) {
  return new ProblemError({
    code: "page",
    what: "this page could not follow the gateway",
    why: String(error),
    fix: "Reload it: it and the gateway may be of different versions.",
  });
}
