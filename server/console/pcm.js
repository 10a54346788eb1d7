// Sound as the protocol carries it: PCM of 16 bits, little-endian, mono, 24 kHz, in base64.

export const RATE = 24_000;

/** Int16Array → base64. */
export function encode(samples) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}

/** base64 → Int16Array. */
export function decode(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length & ~1);
  for (let index = 0; index < bytes.length; index++) bytes[index] = raw.charCodeAt(index);
  return new Int16Array(bytes.buffer);
}
