/** One session over one WebRTC connection: pictures, results and facts in, inputs out. */

import { FRAMES_CHANNEL, INPUT_CHANNEL, ProblemError, parseMessage } from "./protocol.js";
import { Joiner } from "./parts.js";
import { showTrack } from "./picture.js";
import { Silence } from "./silence.js";
import { describeSession, endSession, openSession, sessionUrl } from "./whep.js";

const GONE_AFTER_MS = 4000; // a connection may be interrupted this long and come back
const CONNECT_MS = 20_000;
const WATCH_MS = 50;
const LEAST_PATIENCE_MS = 200; // a gateway takes some 100 to answer
const ROUND_TRIPS_TO_RESUME = 4;

/** The code of what ends a stream whose gateway sends it to another one. */
export const LEAVING = "gateway_leaves";

/**
 * @typedef {object} StreamEvents
 * @property {(picture: import("./picture.js").Picture) => void} picture  is on the screen
 * @property {(result: import("./parts.js").Result) => void} result  of a frame, whole
 * @property {() => void} ready  results can come, of a session that makes no pictures
 * @property {(facts: import("./protocol.js").FrameFacts) => void} facts
 * @property {(problem: ProblemError) => void} oddity  a message that could not be read
 */

/**
 * What the connection measured since the last time it was asked.
 * @typedef {object} Measured
 * @property {number} bitsPerS
 * @property {number | null} networkMs  one way, as half the round trip
 * @property {number | null} decodeMs  from a picture's first packet to its decoded form, mean
 * @property {string} codec
 * @property {Way | null} way
 */

/**
 * How packets come.
 * @typedef {object} Way
 * @property {boolean} relayed  by the gateway's TURN server
 * @property {string} address  where they come from: the gateway's, as this page sees it
 */

/** A session; `open` it once, `close` it in any case. */
export class Stream {
  /**
   * @param {import("./whep.js").Asked} asked
   * @param {import("./picture.js").Screen} screen
   * @param {StreamEvents} events
   * @param {import("./whep.js").Resumable | null} lost  a session to go on with
   */
  constructor(asked, screen, events, lost = null) {
    this.asked = asked;
    this.lost = lost;
    /** @type {import("./whep.js").Resumable | null} what this one can be gone on with */
    this.resumable = null;
    /** @type {string[]} origins of other gateways that serve the same */
    this.others = [];
    this.silence = new Silence();
    this.screen = screen;
    this.events = events;
    this.closing = new AbortController();
    /** @type {RTCConfiguration} */
    this.ways = { iceTransportPolicy: asked.relayed ? "relay" : "all" };
    this.connection = new RTCPeerConnection(this.ways);
    this.url = "";
    /** @type {(problem: ProblemError) => void} */
    this.end = () => {};
    /** @type {Promise<ProblemError>} settles when the stream is over, with why */
    this.ended = new Promise((resolve) => { this.end = resolve; });
    this.pictures = true; // unless the session is known to make none
    this.joiner = new Joiner();
    this.before = { bytes: 0, told: 0, atMs: performance.now(), processedS: 0, decoded: 0 };
    this.frames = this.#openFramesChannel();
    this.input = this.#openChannel(INPUT_CHANNEL);
  }

  /**
   * @returns {Promise<import("./protocol.js").Description>}
   * @throws {ProblemError}
   */
  async open() {
    const { signal } = this.closing;
    const { session, token } = this.asked;
    const running = session ? await describeSession(sessionUrl(session), token, signal) : null;
    this.pictures = running?.pictures !== false;
    const receiver = this.pictures ? this.#askForPictures() : null;
    this.connection.addEventListener("connectionstatechange", () => this.#stateChanged());
    const offer = await this.connection.createOffer();
    const opened = await openSession(this.asked, offer.sdp ?? "", signal, this.lost);
    const { url, answerSdp, resume, iceServers, others } = opened;
    this.url = url;
    this.others = others;
    // Gathering begins with the local description, and by then knows the gateway's servers.
    this.connection.setConfiguration({ ...this.ways, iceServers });
    await this.connection.setLocalDescription(offer);
    this.resumable = resume ? { url, resume, patienceMs: Infinity } : null;
    await this.connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
    if (receiver) showTrack(receiver.track, this.screen, (picture) => this.#shown(picture), signal);
    this.#endUnless("connected", CONNECT_MS, "no connection came about");
    const description = running ?? await describeSession(url, token, signal);
    this.pictures = description.pictures !== false;
    this.#tellReady();
    if (this.resumable) this.#watchSilence();
    return description;
  }

  /** Whether inputs can be sent: the channel opens a moment after the first picture. */
  get listening() {
    return this.input.readyState === "open";
  }

  /**
   * Send on the input channel, which may lose it.
   * @param {string} text
   */
  send(text) {
    if (this.listening) this.input.send(text);
  }

  /** @returns {Promise<Measured>} */
  async measure() {
    const { before } = this;
    const now = { ...before, atMs: performance.now() };
    /** @type {Measured} */
    const measured = { bitsPerS: 0, networkMs: null, decodeMs: null, codec: "", way: null };
    const report = await this.connection.getStats();
    report.forEach((part) => {
      if (part.type === "candidate-pair" && part.nominated) {
        if (part.currentRoundTripTime > 0) measured.networkMs = part.currentRoundTripTime * 500;
        const [here, there] = [part.localCandidateId, part.remoteCandidateId];
        measured.way = {
          relayed: report.get(here)?.candidateType === "relay",
          address: report.get(there)?.address ?? "",
        };
      } else if (part.type === "inbound-rtp" && part.kind === "video") {
        now.bytes = part.bytesReceived;
        now.processedS = part.totalProcessingDelay ?? 0;
        now.decoded = part.framesDecoded;
        measured.codec = report.get(part.codecId)?.mimeType.replace("video/", "") ?? "";
      } else if (part.type === "data-channel" && part.label === FRAMES_CHANNEL.label) {
        now.told = part.bytesReceived;
      }
    });
    const pictures = now.decoded - before.decoded;
    if (pictures > 0) measured.decodeMs = ((now.processedS - before.processedS) / pictures) * 1000;
    const bytes = now.bytes - before.bytes + now.told - before.told;
    measured.bitsPerS = (bytes * 8000) / Math.max(1, now.atMs - before.atMs);
    this.before = now;
    return measured;
  }

  /** End it, here and at the gateway. Idempotent; works while the page goes away. */
  close() {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    if (this.url) endSession(this.url, this.asked.token);
    this.connection.close();
    this.end(lost("it was closed here"));
  }

  /**
   * End it here alone, for another stream to go on with the session.
   * @returns {Promise<import("./whep.js").Resumable | null>}
   */
  async abandon() {
    const { resumable } = this;
    if (resumable && this.#mayMove) {
      const { networkMs } = await this.measure();
      resumable.patienceMs = patienceMs(networkMs ?? 0);
    }
    if (resumable) this.url = "";
    this.close();
    return resumable;
  }

  /** @param {import("./picture.js").Picture} picture */
  #shown(picture) {
    this.silence.heard(performance.now());
    this.events.picture(picture);
  }

  /** A path that has died says nothing; ICE would take seconds to notice. */
  #watchSilence() {
    let lastMs = performance.now();
    const timer = setInterval(() => {
      const nowMs = performance.now();
      const late = nowMs - lastMs > 2 * WATCH_MS; // what has come was held up here
      lastMs = nowMs;
      if (this.closing.signal.aborted) clearInterval(timer);
      else if (document.hidden) this.silence.forget(); // its timers and pictures are held back
      else if (!late && this.silence.broken(nowMs)) {
        this.end(lost("nothing comes from the gateway any more"));
      }
    }, WATCH_MS);
  }

  #askForPictures() {
    const { receiver } = this.connection.addTransceiver("video", { direction: "recvonly" });
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    return receiver;
  }

  #openFramesChannel() {
    const frames = this.#openChannel(FRAMES_CHANNEL);
    frames.binaryType = "arraybuffer";
    frames.addEventListener("open", () => this.#tellReady());
    frames.addEventListener("message", ({ data }) => this.#received(data));
    frames.addEventListener("close", () => this.end(lost("the gateway closed the connection")));
    return frames;
  }

  /** @param {typeof FRAMES_CHANNEL} channel */
  #openChannel({ label, options }) {
    return this.connection.createDataChannel(label, options);
  }

  /** Another gateway could serve the same; a session that is another's stays where it is. */
  get #mayMove() {
    return this.others.length > 0 && this.asked.session === "";
  }

  #tellReady() {
    if (!this.pictures && this.frames.readyState === "open") this.events.ready();
  }

  /** @param {unknown} data */
  #received(data) {
    this.silence.heard(performance.now());
    try {
      if (typeof data !== "string") this.#receivedPart(/** @type {ArrayBuffer} */ (data));
      else this.#receivedText(data);
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this.events.oddity(error);
    }
  }

  /** @param {ArrayBuffer} part */
  #receivedPart(part) {
    const result = this.joiner.add(part);
    if (result !== null) this.events.result(result);
  }

  /** @param {string} text */
  #receivedText(text) {
    const message = parseMessage(text);
    if ("facts" in message) this.events.facts(message.facts);
    else if ("leaving" in message && this.#mayMove) this.end(leaving());
    else if ("closed" in message) this.end(ended(message.closed, this.asked.session !== ""));
  }

  #stateChanged() {
    const { connectionState } = this.connection;
    if (connectionState === "failed" || connectionState === "closed") {
      this.end(lost("the connection failed"));
    } else if (connectionState === "disconnected") {
      this.#endUnless("connected", GONE_AFTER_MS, "nothing comes from the gateway any more");
    }
  }

  /**
   * @param {RTCPeerConnectionState} state
   * @param {number} afterMs
   * @param {string} why
   */
  #endUnless(state, afterMs, why) {
    setTimeout(() => {
      if (this.connection.connectionState !== state) this.end(lost(why));
    }, afterMs);
  }
}

/**
 * The gateway ended the session, or this page's part in it.
 * @param {string} why
 * @param {boolean} joined  it was another's, and cannot be opened again
 */
function ended(why, joined) {
  return new ProblemError({
    code: "session_ended",
    what: "the session has ended",
    why,
    fix: joined ? "Join another one." : "This page opens it again by itself.",
  });
}

/**
 * How long a gateway that may have died is waited for where there is another one: long enough for a
 * new TCP connection, TLS and the answer.
 * @param {number} networkMs  one way
 */
export function patienceMs(networkMs) {
  return LEAST_PATIENCE_MS + 2 * networkMs * ROUND_TRIPS_TO_RESUME;
}

function leaving() {
  return new ProblemError({
    code: LEAVING,
    what: "the gateway ends",
    why: "its owner takes it out of service",
    fix: "This page goes on at another one by itself.",
  });
}

/** @param {string} why */
function lost(why) {
  return new ProblemError({
    code: "link_lost",
    what: "the stream ended",
    why,
    fix: "This page opens it again by itself.",
  });
}
