import { extraSize } from '../model/extra.ts';
import type { ParsedPage } from '../model/outcome.ts';

/** Characters of the extras of one page's links, all together: what the event loop takes over, stores and claims again. */
const MAX_PAGE_EXTRAS = 2 * 1024 * 1024;

/** Cuts a page's links where their methods, headers, bodies and passed values come to more than a page may bring. */
export function boundExtras(page: ParsedPage): void {
  let left = MAX_PAGE_EXTRAS;
  const kept = page.links.filter(({ extra }) => {
    if (extra === undefined) return true;
    left -= extraSize(extra);
    return left >= 0;
  });
  if (kept.length === page.links.length) return;
  page.links = kept;
  if (!page.flags.includes('links')) page.flags.push('links');
}
