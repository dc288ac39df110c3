/** Items of an export that its target cannot take, and that were passed over: all counted, the first ones with the reason. */
export interface Rejected {
  count: number;
  first: { offset: number; reason: string }[];
}

/** So many are listed. */
const LISTED = 20;
const MAX_REASON = 300;

/** The one behind an item, or the same one where the item is no more than counted. */
export function addRejected({ count, first }: Rejected, offset: number, reason: string): Rejected {
  const listed = first.length < LISTED ? [...first, { offset, reason: reason.slice(0, MAX_REASON) }] : first;
  return { count: count + 1, first: listed };
}

/** Of a cursor's position, or of a database's JSON; whatever else there is counts as none. */
export function readRejected(position: unknown): Rejected {
  const { count, first } = (position ?? {}) as Partial<Rejected>;
  return typeof count === 'number' && Array.isArray(first) ? { count, first } : { count: 0, first: [] };
}

/** As a cursor's position. Null: none. */
export function positionOf(rejected: Rejected): Rejected | null {
  return rejected.count === 0 ? null : rejected;
}
