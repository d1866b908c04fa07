/**
 * The last seconds of a session, frame by frame, as a trace that Perfetto (ui.perfetto.dev) and
 * chrome://tracing open: the Trace Event Format. Pure.
 *
 * All of it is on the gateway's clock. The gateway tells how long each stage of a frame took, and
 * each piece's time in its device's queue and on the device; when a piece began there is not told,
 * so it is drawn as early as it can have been. This page's clock is mapped by the frame that came
 * fastest, whose way is taken for the network's shortest.
 */

const KEPT_MS = 10_000;
const GATEWAY = 1; // process ids in the trace: the gateway, this page, then nodes
const PAGE = 2;
const FIRST_NODE = 3;

/** @typedef {import("./protocol.js").FrameFacts} FrameFacts */

/**
 * One frame of which facts came.
 * @typedef {object} Traced
 * @property {FrameFacts} facts
 * @property {number} atMs  when they came, on this page's clock
 * @property {number | null} shownMs  when its picture was put on the screen
 */

/** Remembers frames; `json` makes the trace of them. */
export class Trace {
  constructor() {
    /** @type {Traced[]} */
    this.frames = [];
  }

  /** A new connection begins: its frame ids and its clock may be others. */
  forget() {
    this.frames = [];
  }

  /** @param {FrameFacts} facts @param {number} atMs */
  came(facts, atMs) {
    this.frames.push({ facts, atMs, shownMs: null });
    while (this.frames[0].atMs < atMs - KEPT_MS) this.frames.shift();
  }

  /** @param {number} frame @param {number} atMs */
  shown(frame, atMs) {
    const known = this.frames.findLast(({ facts }) => facts.frame === frame);
    if (known) known.shownMs ??= atMs;
  }

  /** @param {number} networkMs  the shortest way here, 0 where it is not known */
  json(networkMs) {
    const names = new Names();
    const offsetUs = pageOffsetUs(this.frames, networkMs);
    const events = this.frames.flatMap((traced) => [
      ...ofGateway(traced), ...ofPieces(traced, names), ...ofPage(traced, offsetUs),
    ]);
    return JSON.stringify({ displayTimeUnit: "ms", traceEvents: [...names.events(), ...events] });
  }
}

/**
 * What is to be added to this page's time to have the gateway's, microseconds.
 * @param {Traced[]} frames
 * @param {number} networkMs
 */
function pageOffsetUs(frames, networkMs) {
  const leads = frames.map(({ facts, atMs }) => atMs * 1000 - sentUs(facts));
  return leads.length > 0 ? networkMs * 1000 - Math.min(...leads) : 0;
}

/** @param {FrameFacts} facts */
function sentUs({ openedUs, stages }) {
  return openedUs + stages.reduce((sum, [, us]) => sum + us, 0);
}

/** @param {Traced} traced */
function ofGateway({ facts }) {
  const span = spans("gateway", GATEWAY, 0, facts.frame);
  const { input, filled, rung } = facts;
  const events = span(`frame ${facts.frame}`, facts.openedUs, sentUs(facts), { input, filled, rung });
  let beganUs = facts.openedUs;
  for (const [name, us] of facts.stages) {
    events.splice(-1, 0, ...span(name, beganUs, beganUs + us));
    beganUs += us;
  }
  return events;
}

/**
 * @param {Traced} traced
 * @param {Names} names
 */
function ofPieces({ facts }, names) {
  const [before] = facts.stages;
  const cutUs = facts.openedUs + (before?.[0] === "open" ? before[1] : 0);
  return facts.pieces.flatMap(({ region, maker, queueUs, runUs }, number) => {
    if (maker === null) return [];
    const { pid, tid } = names.of(maker);
    const span = spans("piece", pid, tid, `${facts.frame}.${number}`);
    const runsUs = cutUs + queueUs;
    return [
      ...span(`queue ${facts.frame}`, cutUs, runsUs, { region }),
      ...span(`run ${facts.frame}`, runsUs, runsUs + runUs, { region }),
    ];
  });
}

/**
 * @param {Traced} traced
 * @param {number} offsetUs
 */
function ofPage({ facts, atMs, shownMs }, offsetUs) {
  const span = spans("page", PAGE, 0, facts.frame);
  const leftUs = sentUs(facts);
  const told = span(`facts ${facts.frame}`, leftUs, atMs * 1000 + offsetUs);
  if (shownMs === null) return told;
  return [...told, ...span(`picture ${facts.frame}`, leftUs, shownMs * 1000 + offsetUs)];
}

/**
 * Spans that may overlap others of their track: nestable asynchronous events.
 * @param {string} cat
 * @param {number} pid
 * @param {number} tid
 * @param {number | string} id
 */
function spans(cat, pid, tid, id) {
  const common = { cat, pid, tid, id: `${cat}-${id}` };
  /** @type {(name: string, fromUs: number, untilUs: number, args?: object) => object[]} */
  return (name, fromUs, untilUs, args = {}) => [
    { ...common, name, ph: "b", ts: fromUs, args },
    { ...common, name, ph: "e", ts: Math.max(fromUs, untilUs) },
  ];
}

/** Numbers of nodes and devices, and the events that name them. */
class Names {
  constructor() {
    /** @type {Map<string, {pid: number, devices: Map<string, number>}>} */
    this.nodes = new Map();
  }

  /** @param {string} maker  `node/device` */
  of(maker) {
    const [node, device = ""] = maker.split(/\/(.*)/s);
    const known = this.nodes.get(node)
      ?? { pid: FIRST_NODE + this.nodes.size, devices: new Map() };
    this.nodes.set(node, known);
    if (!known.devices.has(device)) known.devices.set(device, known.devices.size);
    return { pid: known.pid, tid: known.devices.get(device) ?? 0 };
  }

  events() {
    const nodes = [...this.nodes].flatMap(([node, { pid, devices }]) => [
      named("process_name", node, pid, 0),
      ...[...devices].map(([device, tid]) => named("thread_name", device, pid, tid)),
    ]);
    return [
      named("process_name", "gateway", GATEWAY, 0), named("process_name", "page", PAGE, 0), ...nodes,
    ];
  }
}

/**
 * @param {string} what
 * @param {string} name
 * @param {number} pid
 * @param {number} tid
 */
function named(what, name, pid, tid) {
  return { name: what, ph: "M", pid, tid, ts: 0, args: { name } };
}
