import { storedJson } from '../model/extra.ts';
import type { RequestExtra } from '../model/request.ts';
import type { PageRule } from '../model/spider.ts';
import { type CompiledRule, compileRule, type LinkJudge, type PageLinks } from './links.ts';

/** Characters that the links of one page may take in the memory of its spider. With more, the page is always fetched. */
const MAX_REMEMBERED = 256 * 1024;

/** A link as the memory has it: URL, number of its follow rule (−1: none has it), priority, and what it is besides a GET. */
type Remembered = [url: string, rule: number, priority: number, extra?: RequestExtra];

/** A link that a page kept, and the rule that did. */
export interface KeptLink {
  url: string;
  rule: number;
  priority: number;
  extra: RequestExtra | undefined;
}

/** The links of a page for later crawls of its spider; null: they are too many. */
export function rememberLinks(links: Iterable<KeptLink>): string | null {
  const list: Remembered[] = [];
  let chars = 0;
  for (const { url, rule, priority, extra } of links) {
    chars += url.length + 20;
    if (chars > MAX_REMEMBERED) return null;
    list.push(extra === undefined ? [url, rule, priority] : [url, rule, priority, extra]);
  }
  const text = storedJson(list);
  return text.length > MAX_REMEMBERED ? null : text;
}

/** Adds remembered links to those of a page, judged as if the page had been read again. @param text of `rememberLinks` */
export function recallLinks(
  text: string,
  url: string,
  links: PageLinks,
  rules: ReadonlyMap<number, CompiledRule>,
  judge: LinkJudge,
): void {
  for (const [href, number, priority, extra] of JSON.parse(text) as Remembered[]) {
    const rule = rules.get(number) ?? compileRule({ priority }, -1, 'remembered');
    const sitemap = extra?.kind === 'sitemap' ? judge.sitemap(href, url) : null;
    if (sitemap !== null) links.addTarget(sitemap, rule, null, extra ?? null);
    else links.addRequest(href, rule, null, extra ?? null, null);
  }
}

/** Every follow rule of a spider by its number, named as `compileFollow` names it. */
export function rulesByNumber(pages: readonly PageRule[]): Map<number, CompiledRule> {
  const rules = pages.flatMap(({ follow = [] }, page) =>
    follow.map((rule, place) => ({ rule, name: `pages[${page}].follow[${place}]` })),
  );
  return new Map(rules.map(({ rule, name }, number) => [number, compileRule(rule, number, name)]));
}
