/** The page: joins the session, the screen, the controls and the figures. */

import { BarcodeReader, CELL } from "./barcode.js";
import { DEFAULT_POSE, eyeOf } from "./camera.js";
import { Controls } from "./controls.js";
import { RollingFigures } from "./figures.js";
import { Foresight, headBetween, poseBetween } from "./foresight.js";
import { FrameBook } from "./framebook.js";
import { HeadsetView, spaceAt } from "./headset.js";
import { Outbox } from "./outbox.js";
import { MakerColours } from "./palette.js";
import { Panel, element } from "./panel.js";
import { Recorder } from "./recorder.js";
import { Session } from "./session.js";
import { StereoView, headOf } from "./stereo.js";
import { SweepView, showsSweeps } from "./sweepview.js";
import { TileOverlay } from "./tiles.js";
import { Trace } from "./trace.js";
import { eyeViews, orbitView, sizesOf } from "./viewpoint.js";
import { WarpView } from "./warpview.js";
import { readAddress } from "./whep.js";

const PANEL_MS = 500;
const LONGEST_STEP_S = 0.1; // a held key must not jump after a pause of the display
const SILENT_MS = 2000; // without anything new for this long, say so
const SETTLE_MS = 150; // after the camera stopped: what is said of it still runs ahead of it
const LATENCY_SHARE = 0.02; // of the newest in what is remembered: a second's worth of drawings

const STATUS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  refused: "Not connected",
};

class Viewer {
  constructor() {
    this.asked = readAddress(location);
    /** @type {import("./picture.js").Screen} */
    this.screen = {
      canvas: /** @type {HTMLCanvasElement} */ (element("canvas")),
      video: /** @type {HTMLVideoElement} */ (element("video")),
    };
    const colours = new MakerColours();
    this.tiles = new TileOverlay(/** @type {HTMLCanvasElement} */ (element("tiles")), colours);
    this.sweeps = new SweepView(
      element("stage"), /** @type {HTMLCanvasElement} */ (element("map")), colours,
    );
    this.panel = new Panel(colours);
    this.figures = new RollingFigures();
    this.recorder = new Recorder();
    this.trace = new Trace();
    this.networkMs = 0; // one way, as it was last measured
    this.barcode = this.asked.barcode ? new BarcodeReader() : null;
    this.controls = new Controls(element("stage"), () => this.#wake());
    this.stereo = new StereoView(/** @type {HTMLCanvasElement} */ (element("unsqueezed")));
    this.warp = new WarpView(
      /** @type {HTMLCanvasElement} */ (element("warped")), (frame) => this.stereo.frames.get(frame),
    );
    this.headset = new HeadsetView(element("headset"), this.warp, {
      moved: (head) => this.#headMoved(head),
      worn: (on) => {
        this.foresight?.forget();
        if (!on) this.#wake(); // the page's own camera counts again
      },
    });
    /** @type {Foresight<any> | null} heads or poses, as the session takes them */
    this.foresight = null;
    this.latencyMs = 0; // how old the input is that shaped what is shown, mean over drawings
    this.ages = 0; // how many drawings it is the mean of
    /** @type {number | null} */
    this.saidAtMs = null; // the input that shaped the newest picture, if it was a new one
    this.changedAtMs = -Infinity; // the camera
    /** @type {((presented: import("./warpview.js").Presented) => void) | null} */
    this.onPresented = null;
    this.outbox = this.#newOutbox();
    this.book = this.#newBook();
    this.size = { width: 0, height: 0 };
    this.firstOpenedUs = 0; // of this session's first known frame
    /** @type {import("./protocol.js").Description | null} */
    this.description = null;
    /** @type {import("./session.js").State} */
    this.state = "connecting";
    /** @type {import("./protocol.js").Problem | null} */
    this.problem = null;
    this.overlay = this.asked.overlay;
    this.shownAtMs = 0; // the newest picture or sweep
    this.steppedAtMs = 0;
    this.stepping = 0;
    /** @type {((sweep: import("./fmbx.js").Sweep, frame: number) => void) | null} */
    this.onSweep = null;
    this.session = this.#newSession();
  }

  start() {
    this.showOverlay(this.overlay);
    this.#listen();
    setInterval(() => this.#showFigures(), PANEL_MS);
    this.session.keep();
    const present = () => {
      requestAnimationFrame(present);
      this.#present();
    };
    present();
  }

  /** Begin again with what the address says now. */
  restart() {
    this.session.leave();
    this.asked = readAddress(location);
    this.session = this.#newSession();
    this.session.keep();
  }

  /** @param {boolean} shown */
  showOverlay(shown) {
    this.overlay = shown;
    element("panel").hidden = !shown;
    element("overlay").setAttribute("aria-pressed", String(shown));
    if (!shown) this.tiles.clear();
    this.sweeps.showSectors(shown);
  }

  // --- the session ------------------------------------------------------------------------

  #newSession() {
    return new Session(this.asked, this.screen, {
      state: (state, error, pauseMs) => this.#stateChanged(state, error?.problem ?? null, pauseMs),
      opening: () => this.#opening(),
      opened: (description) => this.#opened(description),
      picture: (picture) => this.#picture(picture),
      result: (result) => this.#result(result),
      facts: (facts) => this.#facts(facts),
      oddity: () => this.recorder.oddity(),
    });
  }

  #opening() {
    this.recorder.connection();
    this.trace.forget();
    this.outbox = this.#newOutbox(); // ids start over
    this.stereo.forget();
    this.warp.forget();
    this.book = this.#newBook();
    this.sweeps.forget();
    this.firstOpenedUs = 0;
    document.body.toggleAttribute("data-joined", this.asked.session !== "");
  }

  /** @param {import("./protocol.js").Description} description */
  #opened(description) {
    this.description = description;
    const title = description.title ?? description.workload ?? "framemesh";
    element("title").textContent = title;
    document.title = `${title} · framemesh`;
    this.warp.asked = this.asked.warp;
    this.warp.begin(description);
    this.screen.covered = this.warp.active;
    this.stereo.begin(description, this.warp.active);
    this.#foresee(description);
    element("dragging").textContent = this.stereo.posed ? "look" : "orbit";
    const { view } = this;
    document.body.dataset.view = view;
    const label = view === "map" ? `Top view of ${title}` : `Live picture of ${title}`;
    element("stage").setAttribute("aria-label", label);
    if (view === "map") this.sweeps.begin(description);
    else this.sweeps.end();
    if (!this.steers) this.controls.end();
    else {
      this.controls.begin(description);
      if (this.controls.moved) this.#wake(); // the new session is told where the camera was left
    }
  }

  /** What the session is shown as. @returns {"picture" | "map" | "none"} */
  get view() {
    if (this.description?.pictures !== false) return "picture";
    return showsSweeps(this.description) ? "map" : "none";
  }

  /** Whether there is a camera, and it is this page's to move. */
  get steers() {
    return this.view === "picture" && this.asked.session === "";
  }

  #newOutbox() {
    return new Outbox((state, id) => this.stereo.word(this.#ahead(state), id));
  }

  #newBook() {
    return new FrameBook((facts, picture) => {
      this.recorder.matched();
      this.trace.shown(facts.frame, picture.atMs);
      this.stereo.shown(facts.frame, picture.atMs);
      const ms = this.outbox.answered(facts.input, picture.atMs);
      const whole = facts.filled === 0;
      const nowMs = performance.now();
      if (picture.serial !== undefined) {
        this.warp.matched(picture.serial, facts.frame, whole, nowMs);
      }
      this.saidAtMs = ms === null ? null : picture.atMs - ms;
      if (ms !== null) {
        this.figures.roundTrip(ms, picture.atMs);
        this.recorder.roundTrip(ms, picture.atMs);
      }
      if (!this.overlay) return;
      this.tiles.draw(this.stereo.placed(facts), this.size.width, this.size.height);
    });
  }

  /** @param {import("./protocol.js").FrameFacts} facts */
  #facts(facts) {
    const nowMs = performance.now();
    this.recorder.facts(facts, nowMs);
    this.figures.frame(facts, nowMs);
    this.trace.came(facts, nowMs);
    this.book.addFacts(facts, nowMs);
    if (this.view === "map") this.sweeps.addFacts(facts, nowMs);
    this.firstOpenedUs ||= facts.openedUs;
    const turnedS = (facts.openedUs - this.firstOpenedUs) / 1e6;
    this.controls.turned(turnedS * (this.description?.turntable ?? 0));
  }

  /** @param {import("./picture.js").Picture} picture */
  #picture(picture) {
    const { source, rtp } = picture;
    const serial = this.warp.take(source, performance.now());
    const { width, height } = this.warp.active ? this.warp.size : this.stereo.paint(picture);
    const atMs = performance.now();
    const id = this.barcode?.read(source) ?? null;
    this.shownAtMs = atMs;
    if (width !== this.size.width || height !== this.size.height) {
      this.size = { width, height };
      document.body.style.setProperty("--aspect", String(width / height));
      document.body.style.setProperty("--barcode", String(this.barcode ? CELL / height : 0));
    }
    this.recorder.picture(id, atMs, this.barcode !== null);
    this.figures.picture(atMs);
    this.book.addPicture({ atMs, id, rtp, serial });
  }

  /** @param {import("./parts.js").Result} result */
  #result(result) {
    if (this.view === "picture") {
      this.stereo.result(result);
      this.warp.arrived(result.frame, performance.now());
    }
    if (this.view !== "map") return;
    const sweep = this.sweeps.show(result);
    if (sweep === null) return;
    const atMs = performance.now();
    this.shownAtMs = atMs;
    this.figures.picture(atMs);
    this.recorder.sweep(result.frame, sweep, atMs);
    this.onSweep?.(sweep, result.frame);
  }

  /**
   * @param {import("./session.js").State} state
   * @param {import("./protocol.js").Problem | null} problem
   * @param {number} pauseMs
   */
  #stateChanged(state, problem, pauseMs) {
    this.state = state;
    this.problem = problem;
    document.body.dataset.state = state;
    const pause = pauseMs > 1500 ? ` in ${Math.round(pauseMs / 1000)} s` : "";
    element("status-text").textContent = STATUS[state] + pause;
    element("problem").hidden = problem === null;
    if (problem === null) return;
    element("problem-what").textContent = problem.what;
    element("problem-why").textContent = problem.why;
    element("problem-fix").textContent = problem.fix;
  }

  // --- input ------------------------------------------------------------------------------

  #listen() {
    element("overlay").addEventListener("click", () => this.showOverlay(!this.overlay));
    element("reset").addEventListener("click", () => this.#reset());
    element("trace").addEventListener("click", () => this.#saveTrace());
    element("fullscreen").addEventListener("click", toggleFullscreen);
    element("again").addEventListener("click", () => {
      if (this.state === "refused") this.restart();
      else this.session.hurry();
    });
    addEventListener("keydown", (event) => this.#shortcut(event));
    addEventListener("hashchange", () => this.restart());
    addEventListener("pagehide", () => this.session.leave());
    addEventListener("pageshow", ({ persisted }) => { if (persisted) this.restart(); });
  }

  /** @param {KeyboardEvent} event */
  #shortcut(event) {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.code === "KeyT") this.showOverlay(!this.overlay);
    else if (event.code === "KeyR") this.#reset();
    else if (event.code === "KeyP") this.#saveTrace();
    else if (event.code === "KeyF") toggleFullscreen();
  }

  #saveTrace() {
    save("framemesh-trace.json", this.trace.json(this.networkMs));
  }

  #reset() {
    if (this.view === "map") this.sweeps.controls.reset();
    else this.controls.reset();
  }

  /** Step with the display for as long as there is something to do. */
  #wake() {
    element("help").classList.toggle("known", this.controls.moved);
    this.changedAtMs = performance.now();
    this.outbox.put(this.#state());
    if (this.stepping !== 0) return;
    this.steppedAtMs = performance.now();
    this.stepping = requestAnimationFrame(() => this.#step());
  }

  #step() {
    const nowMs = performance.now();
    this.controls.step(Math.min((nowMs - this.steppedAtMs) / 1000, LONGEST_STEP_S));
    this.steppedAtMs = nowMs;
    const settling = this.foresight !== null && nowMs - this.changedAtMs < SETTLE_MS;
    if (settling) this.outbox.put(this.#state());
    this.#say(nowMs);
    const more = this.controls.busy || this.outbox.pending || settling;
    this.stepping = more ? requestAnimationFrame(() => this.#step()) : 0;
  }

  /** @param {number} nowMs */
  #say(nowMs) {
    const { stream } = this.session;
    const text = this.description && stream?.listening ? this.outbox.next(nowMs) : null;
    if (text !== null) stream?.send(text);
  }

  // --- the late warp ----------------------------------------------------------------------

  /** Where the camera is, as the session takes it. */
  #state() {
    return this.stereo.posed ? headOf(this.controls.pose) : this.controls.pose;
  }

  /**
   * A session began: say where the camera will be rather than where it is, if a wrong guess is put
   * right here.
   * @param {import("./protocol.js").Description} description
   */
  #foresee(description) {
    const between = /** @type {any} */ (this.stereo.posed ? headBetween : poseBetween);
    this.foresight = this.warp.active && this.steers ? new Foresight(between) : null;
    const { camera = DEFAULT_POSE } = description;
    this.headset.begin(this.steers ? description : {}, spaceAt(camera, eyeOf(camera)));
  }

  /** @param {any} state  a head or a pose, as it is now */
  #ahead(state) {
    this.foresight?.add(state, performance.now());
    return this.foresight?.after(this.latencyMs) ?? state;
  }

  /** Draw the newest picture from where the camera is now. */
  #present() {
    if (!this.warp.active || this.headset.session !== null || this.description === null) return;
    const nowMs = performance.now();
    const presented = this.warp.present(this.#viewsNow(this.description), nowMs);
    if (presented === null) return;
    this.#age(nowMs);
    this.onPresented?.(presented);
  }

  /**
   * Something was drawn: while the camera moves, how old is what shaped it?
   * @param {number} nowMs
   */
  #age(nowMs) {
    if (this.saidAtMs === null) return;
    this.ages += 1;
    const share = Math.max(LATENCY_SHARE, 1 / this.ages);
    this.latencyMs += share * (nowMs - this.saidAtMs - this.latencyMs);
  }

  /**
   * @param {import("./protocol.js").Description} description
   * @returns {number[][] | null}  null where the camera is not this page's, or was never moved
   */
  #viewsNow(description) {
    if (!this.steers || !this.controls.moved) return null;
    const { pose } = this.controls;
    if (this.stereo.posed) return eyeViews(description, headOf(pose));
    const [width, height] = sizesOf(description).lookedAt;
    return [orbitView(pose, width / height)];
  }

  /** @param {import("./matrix.js").Head} head  of whoever wears the headset */
  #headMoved(head) {
    const nowMs = performance.now();
    this.#age(nowMs);
    this.outbox.put(head);
    this.#say(nowMs); // the page's own frames stop while a headset shows it
  }

  // --- figures ----------------------------------------------------------------------------

  async #showFigures() {
    const nowMs = performance.now();
    if (this.state === "live") element("status-text").textContent = this.#liveness(nowMs);
    if (!this.overlay || this.state !== "live") return;
    const measured = await this.session.stream?.measure() ?? null;
    this.networkMs = measured?.networkMs ?? this.networkMs;
    const figures = this.figures.read(nowMs);
    this.panel.show(figures, measured, this.size);
    element("path").textContent = this.#path;
    if (this.view === "map") this.panel.showSweeps(figures, measured, this.sweeps.read(nowMs));
  }

  /** What puts pictures on the screen. */
  get #path() {
    if (this.warp.active) return "late warp (WebGL2)";
    return this.screen.canvas.hidden ? "video" : "canvas";
  }

  /** @param {number} nowMs */
  #liveness(nowMs) {
    const silentMs = nowMs - this.shownAtMs;
    if (silentMs < SILENT_MS || this.view === "none") return STATUS.live;
    if (this.shownAtMs === 0) return "Nothing yet";
    const what = this.view === "map" ? "sweep" : "picture";
    return `No ${what} for ${Math.round(silentMs / 1000)} s`;
  }
}

/**
 * Have the browser save a JSON file.
 * @param {string} name
 * @param {string} json
 */
function save(name, json) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([json], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be asking where to
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen();
}

const viewer = new Viewer();

/** What a check of this page reads (clients/check.py, tests/browser). */
globalThis.framemesh = {
  /** Everything seen since the last take; see recorder.js. */
  take: () => viewer.recorder.take(),
  /** How things are now. */
  look: () => {
    const { x, y, width, height } = element("picture").getBoundingClientRect();
    return {
      state: viewer.state,
      problem: viewer.problem,
      description: viewer.description,
      direct: !viewer.screen.canvas.hidden,
      picture: { ...viewer.size, box: [x, y, width, height] },
      pose: viewer.controls.pose,
      view: viewer.view,
      map: { ...viewer.sweeps.controls.view, area: viewer.sweeps.controls.area },
      misses: viewer.sweeps.read(performance.now()).misses,
      echo: viewer.stereo.echo, // the last pose that came back with its picture
      warp: viewer.warp.active, // pictures are shown from where the camera is by then
      latencyMs: viewer.latencyMs,
      input: viewer.outbox.id, // of the last camera state that was said, -1 before the first
      counts: viewer.recorder.counts,
    };
  },
  /** The last ten seconds for Perfetto, as it would be saved. */
  trace: () => viewer.trace.json(viewer.networkMs),
  /** How packets come, once there is a connection. */
  way: async () => (await viewer.session.stream?.measure())?.way ?? null,
  /** @param {boolean} shown */
  showOverlay: (shown) => viewer.showOverlay(shown),
  /** @param {(sweep: import("./fmbx.js").Sweep, frame: number) => void} told  of each shown */
  onSweep: (told) => { viewer.onSweep = told; },
  /** @param {(presented: import("./warpview.js").Presented) => void} told  of each late warp */
  onPresented: (told) => { viewer.onPresented = told; },
  /** @param {import("./camera.js").Pose} pose  move the camera there, as a hand would */
  steer: (pose) => viewer.controls.moveTo(pose),
};

viewer.start();
