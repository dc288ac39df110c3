import type { LedgerRow } from '../db/ledger.ts';
import type { CrawlState } from '../model/crawl.ts';
import { type Reason, STATE } from '../model/request.ts';

const REASON_SENTENCES: Record<Reason, string> = {
  robots: 'robots.txt of its host forbids it',
  offsite: 'its host is outside the scope of the crawl',
  denied: 'a deny pattern matches it, or no allow pattern does',
  depth: 'it is further from the start than maxDepth',
  scheme: 'its scheme is neither http nor https',
  trap: 'its URL looks as if the site made ever new ones without end, or is beyond a limit against that',
  max_pages_per_host: 'maxPagesPerHost pages of its origin are done',
  unchanged: 'the server said that it has not changed since an earlier crawl of the spider scraped it',
  already_scraped: 'an earlier crawl of the spider scraped it, and dedup.ttl is not over',
  url_too_long: 'it is longer than maxUrlLength',
  bad_url: 'it is not a valid URL',
  request_too_large: 'its headers, body and passed values are too large to be kept',
  egress: 'the egress guard does not let its address through',
  redirected: 'it redirects; the target is a request of its own',
  redirect_duplicate: 'it redirects to a URL that the crawl had already',
  too_many_redirects: 'its chain of redirects is longer than maxRedirects',
  content_type: 'what came back is not a page that can be parsed',
  dns: 'the name of its host could not be resolved',
  connect: 'no connection to its host could be made',
  proxy: 'no connection could be made through the proxy',
  tls: 'the TLS connection to its host failed',
  timeout: 'the fetch, or a stage of it, took longer than the settings allow',
  reset: 'the connection broke before the answer was whole',
  truncated: 'the body was shorter than the server had promised',
  too_large: 'the body is larger than maxBodyBytes, or a packed sitemap than a sitemap may be',
  bad_encoding: 'the body could not be decoded',
  bad_response: 'the answer was not valid HTTP, or none that its request can have',
  http_4xx: 'the server answered with a 4xx status',
  http_5xx: 'the server answered with a 5xx status',
  robots_unreachable: 'robots.txt of its host could not be fetched',
  not_cached: 'the crawl fetches nothing (cache.mode only), and no stored response is young enough',
  render_timeout: 'the browser did not have the page in time',
  render_error: 'the browser could not make the page',
  parse_timeout: 'parsing it took longer than parseTimeoutMs',
  parse_memory: 'parsing it took more memory than a parser thread has',
  script_error: 'the script failed on the page',
  pipeline_error: 'a step of the pipeline failed',
  parse_error: 'it could not be parsed',
  crashed: 'each node that took it died over it',
};

/** What happened to a request and why, in one sentence. @param alone until when its host is left alone; null: it is not */
export function explainRequest(row: LedgerRow, crawl: CrawlState, alone: Date | null): string {
  const attempts = row.attempts === 1 ? 'one attempt' : `${row.attempts} attempts`;
  switch (row.state) {
    case STATE.queued:
      if (crawl !== 'running' && crawl !== 'queued') return `It is queued, and the crawl is ${crawl}.`;
      return alone === null
        ? 'It is queued and waits for its turn at its host.'
        : `It is queued; its host is left alone until ${alone.toISOString()} (Retry-After, back-off or delay).`;
    case STATE.delayed:
      return `It is queued again after ${attempts} (${why(row)}) and is due at ${row.ready_at?.toISOString() ?? 'once'}.`;
    case STATE.fetching:
      return `It is being fetched, attempt ${row.attempts}.`;
    case STATE.done:
      return `It was fetched in ${attempts} with status ${row.status ?? 'unknown'} and gave ${row.items} item${row.items === 1 ? '' : 's'}.`;
    case STATE.failed:
      return `It failed after ${attempts}: ${why(row)}.`;
    case STATE.skipped:
      return `It was skipped: ${why(row)}.`;
    default:
      return row.state satisfies never;
  }
}

function why({ reason, detail }: LedgerRow): string {
  const sentence = reason === null ? 'no reason was kept' : REASON_SENTENCES[reason];
  return detail === null ? sentence : `${sentence} (${detail})`;
}
