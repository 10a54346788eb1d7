// Two ways to the server. Both give {send(event), close(), carriesSound}; `carriesSound` means that sound has a way of its
// own, so that no event carries any.

import { Unusable, ask, sessionKey } from "./api.js";

const PATIENCE_MS = 10_000;
const GONE_MS = 5_000; // so long nothing may come from the server before it counts as gone

/**
 * @param {string} model the pipeline
 * @param {{onEvent: (event: object) => void, onClose: () => void}} told `onClose` only after it was open
 * @throws {Unusable}
 */
export async function openWebSocket(model, { onEvent, onClose }) {
  const key = await sessionKey(model);
  const url = new URL("/v1/realtime", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ model, timings: "true" });
  const socket = new WebSocket(url, ["realtime", ...(key === null ? [] : [`openai-insecure-api-key.${key}`])]);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = reject;
  }).catch(explain);
  socket.onmessage = ({ data }) => onEvent(JSON.parse(data));
  socket.onclose = () => onClose();
  return {
    carriesSound: false,
    send: (event) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(event)),
    close() {
      socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

/** A browser does not say why a WebSocket did not open; a plain request does. */
async function explain() {
  await ask("/v1/models");
  throw new Unusable("refused", "The server takes plain requests, but no WebSocket. Is there a proxy between?");
}

/**
 * Like `openWebSocket`, and:
 * @param {MediaStreamTrack | null} track the microphone
 * @param {(stream: MediaStream) => void} onStream what the server says
 */
export async function openWebRtc(model, track, { onEvent, onClose, onStream }) {
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("oai-events");
  const { sender } = peer.addTransceiver(track ?? "audio", { direction: "sendrecv" });
  peer.ontrack = ({ track: theirs }) => onStream(new MediaStream([theirs]));
  try {
    await peer.setLocalDescription();
    await gathered(peer);
    const form = new FormData();
    form.set("sdp", peer.localDescription.sdp);
    form.set("session", JSON.stringify({ type: "realtime", model }));
    const answer = await ask("/v1/realtime/calls?timings=true", { method: "POST", body: form });
    const place = answer.headers.get("Location");
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    await opened(peer, channel);
    return joined(peer, channel, sender, place, { onEvent, onClose });
  } catch (error) {
    peer.close();
    throw error;
  }
}

function joined(peer, channel, sender, place, { onEvent, onClose }) {
  let over = false;
  let silent = null;
  const end = () => {
    if (over) return;
    over = true;
    clearTimeout(silent);
    peer.close();
    onClose();
  };
  channel.onmessage = ({ data }) => onEvent(JSON.parse(typeof data === "string" ? data : new TextDecoder().decode(data)));
  channel.onclose = () => end();
  peer.onconnectionstatechange = () => {
    clearTimeout(silent);
    if (peer.connectionState === "failed") end();
    if (peer.connectionState === "disconnected") silent = setTimeout(() => end(), GONE_MS);
  };
  return {
    carriesSound: true,
    send: (event) => channel.readyState === "open" && channel.send(JSON.stringify(event)),
    setTrack: (track) => sender.replaceTrack(track),
    close() {
      over = true;
      clearTimeout(silent);
      peer.close();
      if (place) void ask(`${place}/hangup`, { method: "POST", keepalive: true }).catch(() => {});
    },
  };
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
  });
}

function opened(peer, channel) {
  return new Promise((resolve, reject) => {
    const fail = () => {
      reject(new Unusable("refused", "WebRTC finds no way to the server: a firewall may keep UDP out. Try WebSocket."));
    };
    const timer = setTimeout(fail, PATIENCE_MS);
    channel.onopen = () => {
      clearTimeout(timer);
      resolve();
    };
    peer.onconnectionstatechange = () => peer.connectionState === "failed" && fail();
  });
}
