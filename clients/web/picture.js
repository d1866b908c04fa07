/**
 * Puts a video track on the screen and reports every picture that it shows.
 *
 * Where the browser has MediaStreamTrackProcessor, decoded pictures go straight to a canvas: all
 * of them, each as soon as it is there. Elsewhere a <video> element shows what it chooses to, and
 * requestVideoFrameCallback tells what that was.
 */

/**
 * One picture, valid during the callback.
 * @typedef {object} Picture
 * @property {CanvasImageSource} source
 * @property {number} width
 * @property {number} height
 * @property {number | null} rtp  RTP timestamp, if the browser tells
 */

/**
 * Where pictures are shown.
 * @typedef {object} Screen
 * @property {HTMLCanvasElement} canvas
 * @property {HTMLVideoElement} video
 * @property {boolean} [covered]  whoever is told of pictures draws them, over these two
 */

/**
 * @param {MediaStreamTrack} track
 * @param {Screen} screen
 * @param {(picture: Picture) => void} onPicture
 * @param {AbortSignal} signal  ends it
 */
export function showTrack(track, screen, onPicture, signal) {
  const { canvas, video } = screen;
  const direct = "MediaStreamTrackProcessor" in globalThis;
  canvas.hidden = !direct;
  video.hidden = direct;
  if (direct) showOnCanvas(track, screen, onPicture, signal);
  else showInVideo(track, video, onPicture, signal);
}

/**
 * @param {MediaStreamTrack} track
 * @param {Screen} screen
 * @param {(picture: Picture) => void} onPicture
 * @param {AbortSignal} signal
 */
async function showOnCanvas(track, screen, onPicture, signal) {
  const { canvas } = screen;
  const context = /** @type {CanvasRenderingContext2D} */ (
    canvas.getContext("2d", { alpha: false })
  );
  // @ts-ignore: not in TypeScript's library yet
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  signal.addEventListener("abort", () => reader.cancel(), { once: true });
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    const { displayWidth: width, displayHeight: height } = frame;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    if (!screen.covered) context.drawImage(frame, 0, 0);
    onPicture({ source: frame, width, height, rtp: frame.metadata?.().rtpTimestamp ?? null });
    frame.close();
  }
}

/**
 * @param {MediaStreamTrack} track
 * @param {HTMLVideoElement} video
 * @param {(picture: Picture) => void} onPicture
 * @param {AbortSignal} signal
 */
function showInVideo(track, video, onPicture, signal) {
  video.srcObject = new MediaStream([track]);
  signal.addEventListener("abort", () => { video.srcObject = null; }, { once: true });
  const next = () => {
    video.requestVideoFrameCallback((_, { width, height, rtpTimestamp }) => {
      if (signal.aborted) return;
      onPicture({ source: video, width, height, rtp: rtpTimestamp ?? null });
      next();
    });
  };
  next();
  video.play().catch(() => {}); // muted video may always play; a removed element may not
}
