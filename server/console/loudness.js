// How loud a piece of sound is. Also loaded into audio worklets.

export const SILENCE_DB = -100;

/** Returns the level of samples in -1 … 1, in dB of full scale. */
export function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length && sum ? Math.max(SILENCE_DB, 10 * Math.log10(sum / samples.length)) : SILENCE_DB;
}
