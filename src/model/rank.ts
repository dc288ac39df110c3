import type { Settings } from './settings.ts';

const SEQ_BITS = 36n;
const DEPTH_BITS = 15n;
const MAX_DEPTH = (1n << DEPTH_BITS) - 1n;
const MAX_SEQ = (1n << SEQ_BITS) - 1n;

/**
 * The order of fetching as one ascending 63-bit number, so that «what comes next» is an index condition on one column:
 * priority (higher first, 12 bits), then depth (15 bits), then order of discovery (36 bits).
 *
 * `breadth`: nearer pages first, older first. `depth`: deeper pages first, newer first. `priority`: older first.
 *
 * @param priority −2047 … 2047; beyond it is clamped
 * @param seq the request's place in the order of discovery, below 2³⁶
 */
export function rankOf(order: Settings['order'], priority: number, depth: number, seq: number): bigint {
  const urgency = BigInt(2047 - Math.max(-2047, Math.min(2047, priority)));
  const level = depth > Number(MAX_DEPTH) ? MAX_DEPTH : BigInt(depth);
  const place = BigInt(seq);
  const high = urgency << (DEPTH_BITS + SEQ_BITS);
  switch (order) {
    case 'breadth':
      return high | (level << SEQ_BITS) | place;
    case 'depth':
      return high | ((MAX_DEPTH - level) << SEQ_BITS) | (MAX_SEQ - place);
    case 'priority':
      return high | place;
  }
}
