/** Signalling: WHEP (draft-ietf-wish-whep), one POST to open a session, one DELETE to end it. */

import { iceServers, otherGateways } from "./links.js";
import { ProblemError } from "./protocol.js";

/** @typedef {import("./protocol.js").Problem} Problem */

const RESUME = "Framemesh-Resume";

/** The code of the problem that nobody answers. */
export const UNREACHABLE = "unreachable";

/**
 * What the page's own address asks for.
 * @typedef {object} Asked
 * @property {string} workload
 * @property {string} session  a running one to join; "" to open one
 * @property {string} token  from the fragment, which no server's log sees
 * @property {URLSearchParams} options  for the gateway and the workload
 * @property {boolean} barcode  the pictures carry their frame id
 * @property {boolean} overlay  begin with the overlay shown
 * @property {boolean} warp  show pictures from where the camera is by then, where that can be
 * @property {string} gateway  its origin; "" for the one that the page came from
 * @property {boolean} relayed  go through the gateway's TURN server and by no other way
 */

/**
 * Read `/?scene=...&width=...#token=...`, or `/?session=...#token=...` to join a running session.
 * `workload`, `session`, `overlay`, `warp` and `relay` are the page's own options.
 * @param {{search: string, hash: string}} address
 * @returns {Asked}
 */
export function readAddress({ search, hash }) {
  const options = new URLSearchParams(search);
  const workload = options.get("workload") ?? "render";
  const session = options.get("session") ?? "";
  const overlay = options.get("overlay") !== "0";
  const warp = options.get("warp") !== "0";
  const relayed = options.get("relay") === "1";
  for (const name of ["workload", "session", "overlay", "warp", "relay"]) options.delete(name);
  const token = new URLSearchParams(hash.replace(/^#/, "")).get("token") ?? "";
  const barcode = options.get("barcode") === "1";
  return { workload, session, token, options, barcode, overlay, warp, relayed, gateway: "" };
}

/**
 * Where a running session is found.
 * @param {string} session
 */
export function sessionUrl(session) {
  return `/whep/sessions/${encodeURIComponent(session)}`;
}

/**
 * What a lost session is gone on with, over another connection.
 * @typedef {object} Resumable
 * @property {string} url
 * @property {string} resume  serves once
 * @property {number} patienceMs  after which its gateway is taken for dead; Infinity: never
 */

/**
 * @typedef {object} Opened
 * @property {string} url  what to DELETE in the end
 * @property {string} answerSdp
 * @property {string} resume  "" if it cannot be gone on with
 * @property {RTCIceServer[]} iceServers  that the gateway's owner offers
 * @property {string[]} others  origins of the realm's other gateways
 */

/**
 * Open a session, join the one that is asked for, or go on with one.
 * @param {Asked} asked
 * @param {string} offerSdp
 * @param {AbortSignal} signal
 * @param {Resumable | null} lost  to go on with
 * @returns {Promise<Opened>}
 * @throws {ProblemError}
 */
export async function openSession(asked, offerSdp, signal, lost = null) {
  const url = lost?.url ?? (asked.session ? sessionUrl(asked.session) : openingUrl(asked));
  const answer = await request(url, asked.token, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", ...(lost && { [RESUME]: lost.resume }) },
    body: offerSdp,
    signal: within(lost?.patienceMs ?? Infinity, signal),
  });
  const location = answer.headers.get("Location");
  if (answer.status !== 201 || location === null) {
    throw new ProblemError({
      code: "protocol",
      what: "the session cannot be used",
      why: `the gateway answered ${answer.status} without saying where the session is`,
      fix: "Check that the address is a framemesh gateway's.",
    });
  }
  return {
    url: new URL(location, answer.url).href,
    answerSdp: await answer.text(),
    resume: answer.headers.get(RESUME) ?? "",
    iceServers: iceServers(answer.headers.get("Link")),
    others: otherGateways(answer.headers.get("Link")),
  };
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 */
function within(ms, signal) {
  return ms < Infinity ? AbortSignal.any([signal, AbortSignal.timeout(ms)]) : signal;
}

/** @param {Asked} asked */
function openingUrl(asked) {
  const options = new URLSearchParams(asked.options);
  if (!options.has("resume")) options.set("resume", "1");
  return `${asked.gateway}/whep/${encodeURIComponent(asked.workload)}?${options}`;
}

/**
 * What the gateway says of an open session.
 * @param {string} url
 * @param {string} token
 * @param {AbortSignal} signal
 * @returns {Promise<import("./protocol.js").Description>}
 * @throws {ProblemError}
 */
export async function describeSession(url, token, signal) {
  return (await request(url, token, { signal })).json();
}

/**
 * End a session, or one's part in it. Works while the page is going away; never throws: the gateway
 * also notices.
 * @param {string} url
 * @param {string} token
 */
export async function endSession(url, token) {
  try {
    await fetch(url, { method: "DELETE", headers: bearer(token), keepalive: true });
  } catch {
    // Whoever cannot be reached has ended it, or will when the connection falls silent.
  }
}

/**
 * @param {string} url
 * @param {string} token
 * @param {RequestInit} init
 */
async function request(url, token, init) {
  if (!token) throw noToken();
  let answer;
  try {
    answer = await fetch(url, { ...init, headers: { ...init.headers, ...bearer(token) } });
  } catch (error) {
    const { name } = /** @type {Error} */ (error);
    if (init.signal?.aborted && name !== "TimeoutError") throw error;
    throw unreachable();
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

/** @param {string} token */
function bearer(token) {
  return { Authorization: `Bearer ${token}` };
}

/** @param {Response} answer */
async function refusal(answer) {
  const seconds = Number(answer.headers.get("Retry-After"));
  const told = { status: answer.status, retryAfterMs: seconds > 0 ? seconds * 1000 : 0 };
  try {
    const { code, what, why, fix } = await answer.json();
    if ([code, what, why, fix].every((text) => typeof text === "string")) {
      return new ProblemError({ code, what, why, fix }, told);
    }
  } catch {
    // Not a Problem: a proxy's page, perhaps.
  }
  const problem = {
    code: "http",
    what: "the gateway refused",
    why: `it answered ${answer.status} ${answer.statusText}`.trim(),
    fix: "Its log says more.",
  };
  return new ProblemError(problem, told);
}

function noToken() {
  return new ProblemError({
    code: "not_authorized",
    what: "this page has no token",
    why: "its address does not end in #token=...",
    fix: "Open the whole address that was printed, or get a token with `framemesh realm token`.",
  }, { status: 401 });
}

function unreachable() {
  return new ProblemError({
    code: UNREACHABLE,
    what: "the gateway does not answer",
    why: "it has ended, or the network between is down",
    fix: "Start it again, or check the network; this page keeps trying.",
  });
}
