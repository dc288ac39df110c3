import type { Settings } from '../model/settings.ts';
import type { Scope } from '../model/spider.ts';

/**
 * Cookies and credentials that no request of the crawl is sent with, as far as the start tells: most often their host is
 * written in another way than the site's.
 *
 * @param hosts of the scope where it names some, else of the start URLs
 */
export function unsentWarnings(
  { initialCookies, auth }: Pick<Settings, 'initialCookies' | 'auth'>,
  scope: Scope | undefined,
  hosts: readonly string[],
): string[] {
  // A redirect that may leave the scope may come to any of them.
  if ((initialCookies.length === 0 && auth.length === 0) || (scope?.redirects ?? 'scope') !== 'scope') return [];
  const inside = new Set([...hosts, ...(scope?.calls ?? [])]);
  const isBelow = (host: string, other: string) => host.endsWith(`.${other}`);
  const isInside = (host: string) =>
    inside.has(host) || (scope?.subdomains === true && [...inside].some((one) => isBelow(host, one)));
  const warnings: string[] = [];
  for (const { name, domain } of initialCookies) {
    const host = hostOf(`http://${domain.replace(/^\./, '')}/`);
    const above = host === null ? [] : [...inside].filter((one) => isBelow(one, host));
    if (host === null || isInside(host) || (domain.startsWith('.') && above.length > 0)) continue;
    const hint = above.length > 0 ? `; with the domain .${host} it is sent to ${above[0]}, too` : '';
    warnings.push(`the cookie ${name} of initialCookies is for ${domain}, which is no host of the crawl${hint}`);
  }
  for (const { origin } of auth) {
    const host = hostOf(origin);
    if (host !== null && !isInside(host))
      warnings.push(`the credentials of auth for ${origin} are for no host of the crawl`);
  }
  return warnings;
}

/** As URLs have it; null where it is none, which is said as a problem. */
function hostOf(url: string): string | null {
  return URL.parse(url)?.hostname ?? null;
}
