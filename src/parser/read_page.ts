import { emptyPage, type ParsedPage } from '../model/outcome.ts';
import { decodeBody } from './charset.ts';
import { inputOf } from './content.ts';
import type { Plan } from './plan.ts';
import type { FailureReason, PageJob } from './protocol.ts';
import { readSitemap, robotsSitemaps, SitemapTooLarge } from './sitemap.ts';

/** Why a page is not parsed: the ledger's reason, and words for the crawl's owner. */
export class Refusal extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** What a plan makes of a response, by what its request was for. @throws Refusal */
export function readPage(plan: Plan, job: PageJob): ParsedPage {
  if (job.remembered !== undefined) return plan.recall(job.remembered, job);
  if (job.redirectTo !== undefined) return plan.redirect(job.redirectTo, job);
  if (job.extra?.kind !== undefined) return sitemapPage(plan, job);
  const input = inputOf(job);
  if (job.refreshOnly === true) return (input === null ? null : plan.refreshed(input)) ?? emptyPage();
  if (input === null) throw new Refusal('content_type', job.contentType ?? 'no Content-Type, and not HTML');
  if (!plan.reads(input.kind)) {
    const type = job.contentType ?? 'no Content-Type';
    throw new Refusal('content_type', `${type}: nothing in the spider reads ${input.kind}`);
  }
  return plan.run(input);
}

/** What a sitemap, or a robots.txt, brings. @throws Refusal where it is none */
export function sitemapPage(plan: Plan, { body, bodyBytes, contentType, url, depth, extra }: PageJob): ParsedPage {
  const indexes = (extra?.sitemapDepth ?? 0) + 1;
  if (extra?.kind === 'robots')
    return plan.sitemap(robotsSitemaps(decodeBody(body, bodyBytes, contentType, 'text')), url, depth, indexes - 1);
  try {
    return plan.sitemap(readSitemap(body, bodyBytes, contentType), url, depth, indexes);
  } catch (error) {
    const reason = error instanceof SitemapTooLarge ? 'too_large' : 'content_type';
    throw new Refusal(reason, error instanceof Error ? error.message : String(error));
  }
}
