import type { Settings } from '../model/settings.ts';

/** The settings that say which URLs are traps by their look. */
export type TrapSettings = Pick<Settings, 'maxPathSegments' | 'maxRepeatedSegments'>;

const SLASH = 0x2f;
const QUERY = 0x3f;
const HASH = 0x23;
/** Segments that are compared with one another: a path that repeats itself does so from early on. */
const MAX_COMPARED = 100;
/** Segments of the longest group that is looked for. */
const MAX_GROUP = 10;
/** Characters of a segment in a detail. */
const MAX_SHOWN = 100;

/**
 * Why a URL looks like one of ever new ones that a site makes without end (behaviour 25), as `maxPathSegments 20: …`; null:
 * it does not. A path grows where relative links are resolved wrongly: it has too many segments, or one segment too often
 * (`/a/x/a/y/a/z/a`), or a group of them too often in a row (`/a/b/a/b/a/b`).
 *
 * @param url canonical
 */
export function trapOf(url: string, { maxPathSegments, maxRepeatedSegments }: TrapSettings): string | null {
  const from = url.indexOf('/', url.indexOf('://') + 3) + 1;
  let end = from;
  let slashes = 0;
  for (
    let code = url.charCodeAt(end);
    end < url.length && code !== QUERY && code !== HASH;
    code = url.charCodeAt(++end)
  )
    if (code === SLASH) slashes++;
  // Nearly every URL ends here.
  if (slashes < Math.min(maxPathSegments ?? Infinity, maxRepeatedSegments ?? Infinity)) return null;
  const segments = url.slice(from, end).split('/');
  // What follows the last slash may be nothing; an empty segment between two slashes is one.
  if (segments.at(-1) === '') segments.pop();
  if (maxPathSegments !== null && segments.length > maxPathSegments)
    return `maxPathSegments ${maxPathSegments}: the path has ${segments.length} segments`;
  if (maxRepeatedSegments === null || segments.length <= maxRepeatedSegments) return null;
  if (segments.length > MAX_COMPARED) segments.length = MAX_COMPARED;
  const often = repeated(segments, maxRepeatedSegments) ?? repeatedGroup(segments, Math.max(2, maxRepeatedSegments));
  return often === null ? null : `maxRepeatedSegments ${maxRepeatedSegments}: ${often}`;
}

function repeated(segments: readonly string[], most: number): string | null {
  // One with fewer than `most` behind it cannot be the first of them.
  for (let first = 0; first < segments.length - most; first++) {
    let n = 1;
    for (let i = first + 1; i < segments.length; i++)
      if (segments[i] === segments[first] && ++n > most)
        return `${shown(segments[first]!)} is there more than ${most} times`;
  }
  return null;
}

/** A group of two or more segments that stands `times` times in a row. */
function repeatedGroup(segments: readonly string[], times: number): string | null {
  for (let size = 2; size <= MAX_GROUP && size * times <= segments.length; size++) {
    let same = 0;
    for (let i = size; i < segments.length; i++) {
      same = segments[i] === segments[i - size] ? same + 1 : 0;
      if (same === size * (times - 1)) {
        const group = segments.slice(i - size + 1, i + 1).join('/');
        return `${shown(group)} stands ${times} times in a row`;
      }
    }
  }
  return null;
}

function shown(text: string): string {
  return `"${text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text}"`;
}
