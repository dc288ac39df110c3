/** Compared as far as this: a megabyte of a name, against each known one, would hold the loop for seconds. */
const COMPARED = 50;

/** What other crawlers call it. */
const OTHER_NAMES = new Map([
  ['css', 'selector'],
  ['attr', 'value'],
  ['attribute', 'value'],
  ['regex', 'match'],
  ['re', 'match'],
  ['callback', 'page'],
  ['rules', 'pages'],
  ['links', 'follow'],
  ['allowed_domains', 'scope'],
  ['custom_settings', 'settings'],
  ['download_delay', 'delayMs'],
  ['depth_limit', 'maxDepth'],
  ['depth', 'maxDepth'],
  ['allowed_hosts', 'hosts'],
  ['concurrent_requests', 'concurrency'],
  ['concurrent_requests_per_domain', 'concurrencyPerHost'],
  ['maxrequestspercrawl', 'maxPages'],
  ['closespider_pagecount', 'maxPages'],
  ['closespider_itemcount', 'maxItems'],
  ['closespider_errorcount', 'maxErrors'],
  ['closespider_timeout', 'maxDurationSeconds'],
  ['download_timeout', 'timeoutMs'],
  ['download_maxsize', 'maxBodyBytes'],
  ['robotstxt_obey', 'robots'],
  ['obeyrobots', 'robots'],
  ['respectrobotstxtfile', 'robots'],
  ['retry_http_codes', 'retryStatuses'],
  ['retry_times', 'retries'],
  ['default_request_headers', 'headers'],
  ['httpcache_enabled', 'cache'],
  ['httpcache', 'cache'],
  ['autothrottle_enabled', 'autothrottle'],
  ['autothrottle_target_concurrency', 'autothrottle'],
  ['redirect_max_times', 'maxRedirects'],
  ['followredirects', 'maxRedirects'],
  ['metarefresh_maxdelay', 'maxMetaRefreshSeconds'],
  ['cookies_enabled', 'cookies'],
  ['cookiejar', 'cookies'],
  ['proxies', 'proxy'],
  ['proxyurls', 'proxy'],
  ['http_proxy', 'proxy'],
  ['httpauth', 'auth'],
  ['ignorehttpserrors', 'verifyTls'],
  ['ignoresslerrors', 'verifyTls'],
  ['incremental', 'dedup'],
  ['deltafetch_enabled', 'dedup'],
]);

/**
 * The known word that was probably meant; null where none is near.
 *
 * @param words at most a thousand
 */
export function nearest(word: string, words: Iterable<string>): string | null {
  const renamed = OTHER_NAMES.get(word.slice(0, COMPARED).toLowerCase());
  const known = [...words];
  return renamed !== undefined && known.includes(renamed) ? renamed : nearestSpelling(word, known);
}

function nearestSpelling(word: string, words: readonly string[]): string | null {
  const from = word.toLowerCase().slice(0, COMPARED);
  let best: string | null = null;
  let least = Math.max(2, Math.floor(from.length / 3)) + 1;
  for (const known of words) {
    const distance = editDistance(from, known.toLowerCase().slice(0, COMPARED));
    if (distance >= least || distance >= Math.max(from.length, Math.min(known.length, COMPARED))) continue;
    best = known;
    least = distance;
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
