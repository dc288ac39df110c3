import type { ParsePlanInput } from '../../model/spider.ts';
import { LinkJudge } from '../links.ts';
import { locationOf, redirectLink } from '../redirect.ts';
import type { Target } from '../targets.ts';
import type { ChildCall, ChildLink } from './protocol.ts';

type FetchQuestion = Extract<ChildCall['question'], { kind: 'fetch' }>;
/** Why a fetch is not made. */
interface Refused {
  code: string;
  message: string;
}

/** A longer link is no link. */
const MAX_HREF = 64 * 1024;

/** The judge of what a script may `ctx.fetch` besides what is in scope: hosts alone count. */
function callsJudge(plan: ParsePlanInput): LinkJudge {
  const { calls = [], subdomains = false } = plan.definition.scope ?? {};
  const scopeHosts = calls.map((host) => URL.parse(`http://${host}`)?.hostname ?? host);
  return new LinkJudge({ ...plan, scopeHosts, definition: { scope: { subdomains } } });
}

/**
 * A crawl's scope as a script's links and fetches are held to it. Patterns are a user's, and may be slow: they are tried in
 * the child, which can be ended; the broker judges once more, by hosts alone (`withPatterns` false).
 */
export class GuestScope {
  readonly #judge: LinkJudge;
  readonly #calls: LinkJudge;
  readonly #hasPatterns: boolean;

  constructor(plan: ParsePlanInput, withPatterns: boolean) {
    const { scope = {} } = plan.definition;
    const { allow = [], deny = [], ...hosts } = scope;
    this.#hasPatterns = withPatterns && allow.length + deny.length > 0;
    this.#judge = new LinkJudge(withPatterns ? plan : { ...plan, definition: { scope: hosts } });
    this.#calls = callsJudge(plan);
  }

  /** Where a link leads, absolute; null where it is none. */
  link(href: string, base: string): Pick<ChildLink, 'url' | 'denied'> | null {
    const parsed = href.length > MAX_HREF ? null : URL.parse(href.trim(), base);
    if (parsed === null) return null;
    if (!this.#hasPatterns) return { url: parsed.href, denied: null };
    const { reason, detail } = this.#judge.target(parsed.href, parsed.href)!;
    return { url: parsed.href, denied: reason === 'denied' ? (detail ?? 'scope') : null };
  }

  /** What the ledger would know a link as; null where it is none. */
  target(url: string): Target | null {
    return this.#judge.target(url, url);
  }

  /** The canonical URL that a script may fetch. */
  call(href: string, base: string): { url: string } | Refused {
    const target = href.length > MAX_HREF ? null : this.#judge.target(href.trim(), base);
    if (target === null) return { code: 'bad_url', message: `"${href.slice(0, 200)}" is not a URL` };
    // A trap is inside the scope; how many calls a page makes is bounded in another way.
    if (target.reason === null || target.reason === 'trap') return { url: target.url };
    const reason = this.#calls.target(href.trim(), base)?.reason;
    if (reason === null || reason === 'trap') return { url: target.url };
    return { code: target.reason, message: refusal(target) };
  }

  /** Where a redirected fetch goes on, as the Fetch standard has it. */
  redirected(location: string, from: { url: string; status: number }, asked: FetchQuestion): FetchQuestion | Refused {
    const next = this.call(locationOf(location, from.url), from.url);
    if ('code' in next) return next;
    const { method, headers, body } = asked;
    const extra = { ...(method === 'GET' ? {} : { method }), headers, ...(body === null ? {} : { body }) };
    const link = redirectLink(this.#judge.target(next.url, next.url)!, { ...from, extra });
    const { method: nextMethod = 'GET', headers: nextHeaders = {}, body: nextBody = null } = link.extra ?? {};
    return { kind: 'fetch', url: next.url, method: nextMethod, headers: nextHeaders, body: nextBody };
  }
}

function refusal({ url, reason, detail }: Target): string {
  const mend = reason === 'offsite' ? '; `scope.calls` names hosts that a script may fetch besides those in scope' : '';
  return `${url.slice(0, 500)} is ${reason}: ${detail}${mend}`;
}
