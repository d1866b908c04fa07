// Put into another project's page before its own scripts: what its connections receive is shown
// once more by the benchmark's viewer. BASE is replaced by where that is.
{
  const viewer = import("BASE/viewer.js");
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    constructor(...given) {
      super(...given);
      this.addEventListener("track", ({ track }) => {
        if (track.kind === "video") viewer.then(({ adopt }) => adopt(this, track.clone()));
      });
    }
  };
}
