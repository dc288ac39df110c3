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
