// Opens one session, and keeps what it saw in window.seen for the test to read.
const seen = { ids: [], messages: 0, colour: null, state: "new", error: null };
window.seen = seen;

function readBarcode(pixels) {
  let word = 0;
  for (let i = 0; i < 24; i++) if (pixels[(i * 16 + 8) * 4 + 1] > 128) word |= 1 << i;
  const id = word & 0xfffff;
  let check = 0;
  for (let shift = 0; shift < 20; shift += 4) check ^= (id >> shift) & 0xf;
  return word >>> 20 === check ? id : null;
}

async function show(track) {
  const canvas = new OffscreenCanvas(384, 16).getContext("2d", { willReadFrequently: true });
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    canvas.drawImage(frame, 0, 0);
    seen.ids.push(readBarcode(canvas.getImageData(0, 8, 384, 1).data));
    canvas.drawImage(frame, -frame.displayWidth / 2, -frame.displayHeight / 2);
    seen.colour = [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    frame.close();
  }
}

async function open() {
  const arguments_ = new URLSearchParams(location.hash.slice(1));
  const connection = new RTCPeerConnection();
  connection.onconnectionstatechange = () => { seen.state = connection.connectionState; };
  connection.addTransceiver("video", { direction: "recvonly" });
  connection.ontrack = (event) => show(event.track);
  const options = { negotiated: true, ordered: false, maxRetransmits: 0 };
  const frames = connection.createDataChannel("frames", { ...options, id: 1 });
  frames.onmessage = () => { seen.messages += 1; };
  const input = connection.createDataChannel("input", { ...options, id: 2 });
  input.onopen = () => input.send(JSON.stringify({ id: 7, camera: { yaw: 0.5 } }));
  await connection.setLocalDescription();
  const answer = await fetch(`/whep/synthetic?barcode=1&codec=${arguments_.get("codec")}`, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${arguments_.get("token")}` },
    body: connection.localDescription.sdp,
  });
  if (answer.status !== 201) throw new Error(await answer.text());
  seen.answer = await answer.text();
  await connection.setRemoteDescription({ type: "answer", sdp: seen.answer });
  window.connection = connection;
}

open().catch((error) => { seen.error = String(error); });
