import { type Explanation, keptLink } from '../../model/explanation.ts';
import type { ParsedPage } from '../../model/outcome.ts';
import type { EndedPage } from './protocol.ts';
import type { PageTask } from './tasks.ts';

const MAX_SELECTORS = 200;

/** Why a script's page gave what it gave. */
export function explain(task: PageTask, ended: EndedPage, page: ParsedPage): Explanation {
  const rule = `callback ${task.callback}`;
  const fields = hitsOf(ended);
  const kept = page.links.filter(({ reason }) => reason === null);
  const dropped = page.links.filter(({ reason }) => reason !== null);
  return {
    content: contentOf(task.job.contentType),
    pages: [task.callback],
    fields,
    links: {
      kept: kept.map((link) => keptLink(link, rule)),
      dropped: dropped.map(({ url, reason, detail }) => ({ url, reason: reason!, rule: detail })),
    },
    tree: null,
    ms: { callback: ended.cpuMs, calls: task.noted.reduce((sum, { ms }) => sum + ms, 0) },
    calls: task.noted,
    warnings: warningsOf(fields, page, dropped.length),
  };
}

/** Each selector once, with all that it found. */
function hitsOf({ hits }: EndedPage): Explanation['fields'] {
  const all = new Map<string, Explanation['fields'][number]>();
  for (const { language, text, hits: found } of hits) {
    const key = `${language} ${text}`;
    const known = all.get(key);
    if (known !== undefined) known.hits += found;
    else if (all.size < MAX_SELECTORS)
      all.set(key, { pointer: '/script', source: language === 'xpath' ? 'xpath' : 'selector', text, hits: found });
  }
  return [...all.values()];
}

function warningsOf(fields: Explanation['fields'], page: ParsedPage, dropped: number): string[] {
  const warnings = fields
    .filter(({ hits }) => hits === 0)
    .map(
      ({ text }) => `\`${text}\` matched nothing on this page: is it in the HTML as it came, before any script ran?`,
    );
  if (page.items.length === 0 && page.links.length === 0)
    warnings.push('the callback yielded neither an item nor a request on this page');
  if (dropped > 0 && dropped === page.links.length)
    warnings.push(`none of the ${dropped} links may be followed: see links.dropped, and the spider's scope`);
  return warnings;
}

function contentOf(contentType: string | null): string {
  const type = (contentType ?? 'text/html').toLowerCase();
  if (type.includes('json')) return 'json';
  if (type.includes('html')) return 'html';
  return type.includes('xml') || type.includes('rss') ? 'xml' : 'text';
}
