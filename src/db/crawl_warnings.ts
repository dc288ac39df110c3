import type { CrawlWarning } from '../model/outcome.ts';
import type { Tx } from './client.ts';

const MAX_WARNINGS = 100;

/** Adds a warning to a crawl, whose row lock is held, unless one begins with its `about` or a hundred are there. */
export async function addWarning(tx: Tx, crawlId: string, { about, text }: CrawlWarning): Promise<void> {
  await tx`
    update crawls set warnings = (warnings::jsonb || jsonb_build_array(${text}::text))::json
    where id = ${crawlId} and json_array_length(warnings) < ${MAX_WARNINGS}
      and not exists (select from json_array_elements_text(warnings) w where starts_with(w, ${about}))`;
}

/** Warns where every start URL of a crawl that ended without a page led out of its scope by redirects. */
export async function warnOfRedirects(tx: Tx, crawlId: string): Promise<void> {
  const [row] = await tx<{ url: string }[]>`
    select url from requests where crawl_id = ${crawlId} and reason = 'offsite' and parent is not null
      and not exists (
        select from requests where crawl_id = ${crawlId} and (
          reason is null or reason not in ('redirected', 'redirect_duplicate', 'offsite')
          or (reason = 'offsite' and parent is null)))
    order by seq limit 1`;
  if (row === undefined) return;
  const text = `every start URL redirects out of the scope, the first to ${row.url.slice(0, 500)}: name its host in \`scope.hosts\` to crawl it; with \`scope.redirects\` that page alone is read, and not what it links to there`;
  await addWarning(tx, crawlId, { about: 'every start URL redirects ', text });
}

/** Warns where a crawl ended with pages done and no item, though its spider has item rules (or a script, or the defaults). */
export async function warnWithoutItems(tx: Tx, crawlId: string): Promise<void> {
  const [row] = await tx<{ done: number; dropped: number }[]>`
    select done, dropped from crawls
    where id = ${crawlId} and done > 0 and items = 0 and (
      definition->'pages' is null
      or exists (select from json_array_elements(definition->'pages') p where p->'items' is not null))
      and not exists (
        select from crawl_counts where crawl_id = ${crawlId} and kind = 'reason' and key in ('unchanged', 'already_scraped'))`;
  if (row === undefined) return;
  const { done, dropped } = row;
  const why =
    dropped > 0
      ? `all ${dropped} were dropped; GET /crawls/${crawlId}/stats says why (\`dropped\`)`
      : `${done} page${done === 1 ? ' was' : 's were'} done; POST /spiders/preview shows what each selector finds on a page`;
  await addWarning(tx, crawlId, { about: 'no item was ', text: `no item was kept: ${why}` });
}
