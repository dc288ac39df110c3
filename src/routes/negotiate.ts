import { ApiError } from '../errors.ts';

/**
 * Which of the formats a client wants: `?format=` first, then `Accept` by its q values; the first format where it names
 * none or takes anything.
 *
 * @param formats name in `?format=` → media type
 * @throws ApiError `not_acceptable`
 */
export function negotiate<T extends string>(
  formats: Readonly<Record<T, string>>,
  asked: T | undefined,
  accept: string | undefined,
): T {
  if (asked !== undefined) return asked;
  const names = Object.keys(formats) as T[];
  const wanted = (accept ?? '*/*')
    .split(',')
    .map(readRange)
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q);
  for (const { range } of wanted) {
    const fit = names.find((name) => fits(range, formats[name]));
    if (fit !== undefined) return fit;
  }
  throw new ApiError(
    'not_acceptable',
    `There is ${Object.values(formats).join(', ')}; found Accept: ${(accept ?? '').slice(0, 200)}`,
  );
}

/**
 * Which content coding a client gets (RFC 9110 section 12.5.3): the one with the highest q value, the first of `codings` among
 * equals; none where it asks for none.
 *
 * @throws ApiError `not_acceptable` where it takes none of them, not even `identity`
 */
export function negotiateCoding<T extends string>(codings: readonly T[], accept: string | undefined): T {
  const listed = new Map(
    (accept ?? 'identity')
      .split(',')
      .map(readRange)
      .map(({ range, q }) => [nameOf(range), q]),
  );
  const any = listed.get('*');
  // What is not coded is taken unless it is refused, but where something was named that is preferred.
  const qOf = (coding: string) => listed.get(coding) ?? any ?? (coding === 'identity' ? 0.0001 : 0);
  const [best] = codings.filter((coding) => qOf(coding) > 0).sort((a, b) => qOf(b) - qOf(a));
  if (best !== undefined) return best;
  throw new ApiError(
    'not_acceptable',
    `There is ${codings.join(', ')}; found Accept-Encoding: ${(accept ?? '').slice(0, 200)}`,
  );
}

/** RFC 9110 section 8.4.1.3: an old name of gzip. */
function nameOf(coding: string): string {
  return coding === 'x-gzip' ? 'gzip' : coding;
}

function readRange(part: string): { range: string; q: number } {
  const [range = '', ...params] = part.split(';').map((piece) => piece.trim().toLowerCase());
  const q = params.find((param) => param.startsWith('q='));
  return { range, q: q === undefined ? 1 : Number(q.slice(2)) || 0 };
}

function fits(range: string, type: string): boolean {
  return (
    range === '' || range === '*/*' || range === type || (range.endsWith('/*') && type.startsWith(range.slice(0, -1)))
  );
}
