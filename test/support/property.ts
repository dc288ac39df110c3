import fc from 'fast-check';

/** Of every property in a run. Always the same, so that two runs of one commit differ in nothing; a long form gives another. */
export const SEED = Number(process.env.FUZZ_SEED ?? 20_261_123);

fc.configureGlobal({ seed: SEED });

/** fast-check, whose cases are those of `SEED`. */
export default fc;
