import { requestFp, storedJson } from '../../model/extra.ts';
import { headerProblems } from '../../model/headers.ts';
import { crawlKey, fpWords, type KnownFingerprints, skippedKey } from '../../model/known.ts';
import type { DedupeKey, Link, LogLine, ParsedPage, StepQuestion, WaitingItem } from '../../model/outcome.ts';
import type { ParsePlanInput } from '../../model/spider.ts';
import type { Data } from '../extract.ts';
import { boundExtras } from '../extras.ts';
import { countWord, ItemSink } from '../items.ts';
import { linkOf } from '../links.ts';
import { rememberLinks } from '../remembered.ts';
import type { ChildItem, ChildLink, EndedPage } from './protocol.ts';
import { GuestScope } from './scope.ts';

/** Makes pages of what a crawl's children say: every item is read and cleaned, every link judged here once more. */
export class PageResults {
  /** Without its patterns: those were tried in the child. */
  readonly scope: GuestScope;
  readonly #plan: ParsePlanInput;
  readonly #known: KnownFingerprints | null;
  readonly #key: Uint32Array;
  readonly #skippedKey: Uint32Array;

  /** @param known null: every link comes back, known or not */
  constructor(plan: ParsePlanInput, known: KnownFingerprints | null) {
    this.scope = new GuestScope(plan, false);
    this.#plan = plan;
    this.#known = known;
    this.#key = crawlKey(plan.crawlId);
    this.#skippedKey = skippedKey(plan.crawlId);
  }

  /**
   * @param depth of the page
   * @throws where what came is no page: an item that is no JSON object, or nested too deep
   */
  page(ended: EndedPage, items: readonly Uint8Array[], depth: number, callback: string, logs: LogLine[]): ParsedPage {
    const { full, ...sunk } = this.#items(ended.items, items);
    const links = this.#links(ended.links, depth + 1);
    const flags = new Set(full ? [...ended.flags, 'items'] : ended.flags);
    const page: ParsedPage = {
      ...sunk,
      links: links.fresh,
      linkedFps: links.worthy,
      ...links.memory,
      dropped: cleanCounts(sunk.dropped, ended.dropped),
      flags: [...flags],
      parseMs: ended.cpuMs,
      cpu: { [`callback ${callback}`]: ended.cpuMs },
      ...(logs.length === 0 ? {} : { logs }),
      ...stateOf(ended.state),
      ...(Object.keys(ended.steps).length === 0 ? {} : { steps: cleanCounts(ended.steps) }),
    };
    boundExtras(page);
    return page;
  }

  /** Items that are whole, and those that wait for a step of the pipeline; all of them are read and cleaned. */
  #items(
    rows: readonly ChildItem[],
    data: readonly Uint8Array[],
  ): Pick<ParsedPage, 'items' | 'dropped' | 'fills' | 'pending'> & { full: boolean } {
    const kept = new ItemSink();
    const places: number[] = [];
    rows.forEach(({ type, place, keys, wait }, i) => {
      if (wait === null && addTo(kept, type, dataOf(data[i]!), keys)) places.push(place);
    });
    const held = new ItemSink(
      null,
      kept.items.reduce((sum, { size }) => sum + size, 0),
    );
    const waiting: WaitingItem[] = [];
    rows.forEach(({ type, place, keys, wait }, i) => {
      if (wait === null || !addTo(held, type, dataOf(data[i]!), [])) return;
      this.#checkQuestion(wait.step, wait.question);
      waiting.push({ ...held.items.at(-1)!, place, keys, ...wait });
    });
    const { items, fills } = kept;
    const dropped = cleanCounts(kept.dropped, held.dropped);
    const pending = waiting.length === 0 ? {} : { pending: { places, waiting } };
    return { items, fills, dropped, full: kept.full || held.full, ...pending };
  }

  /** A step's question goes where the step says: its headers may be secrets. @throws where it does not */
  #checkQuestion(step: number, question: StepQuestion): void {
    const { enrich, lookup } = this.#plan.definition.pipeline?.[step] ?? {};
    const isSame = question.kind === 'lookup' ? lookup !== undefined : enrich !== undefined;
    const template = question.kind === 'enrich' ? URL.parse(enrich?.url.replace(/\{[^}]*\}/g, 'x') ?? '') : null;
    const isElsewhere = question.kind === 'enrich' && URL.parse(question.url)?.origin !== template?.origin;
    const isTemplated = /^[a-z]+:\/\/[^/?#]*\{/i.test(enrich?.url ?? '');
    if (!isSame || (isElsewhere && !isTemplated))
      throw new Error(`step ${step} of the pipeline asks nothing like this`);
  }

  #links(
    given: readonly ChildLink[],
    depth: number,
  ): { fresh: Link[]; worthy: string[]; memory: Pick<ParsedPage, 'remembered'> } {
    const best = new Map<string, Link>();
    for (const one of given) {
      const link = this.#link(one, depth);
      const known = link && best.get(link.fp);
      if (link !== null && (known === undefined || (known?.reason !== null && link.reason === null)))
        best.set(link.fp, link);
    }
    const { maxDepth, dedup } = this.#plan.settings;
    const links = [...best.values()];
    const kept = links.filter(({ reason }) => reason === null || reason === 'depth');
    const memory =
      dedup.scope === 'spider'
        ? { remembered: rememberLinks(kept.map(({ url, priority, extra }) => ({ url, rule: -1, priority, extra }))) }
        : {};
    const worthy = maxDepth === null ? [] : kept.map(({ fp }) => fp);
    return { fresh: links.filter((link) => this.#isFresh(link, depth)), worthy, memory };
  }

  /** As `PageLinks.fresh`: without what the ledger is known to have. */
  #isFresh({ fp, reason }: Link, depth: number): boolean {
    const known = this.#known;
    if (known === null) return true;
    const near = this.#plan.settings.maxDepth === null ? Number.MAX_SAFE_INTEGER : depth;
    const words = fpWords(fp);
    return !known.has(this.#key, words, near) && (reason === null || !known.has(this.#skippedKey, words, near));
  }

  #link({ url, priority, extra, denied }: ChildLink, depth: number): Link | null {
    const target = this.scope.target(url);
    if (target === null || headerProblems(extra?.headers, '').length > 0) return null;
    const { maxDepth } = this.#plan.settings;
    const sent = extra === null ? {} : { extra, fp: requestFp(target.url, extra) };
    if (target.reason !== null) return { ...linkOf(target), ...sent, priority };
    const refusal = { origin: target.origin, url: target.url, fp: target.fp, priority, ...sent };
    if (denied !== null) return { ...refusal, reason: 'denied', detail: denied };
    if (maxDepth !== null && depth > maxDepth) return { ...refusal, reason: 'depth', detail: `maxDepth ${maxDepth}` };
    return { ...refusal, reason: null, detail: null };
  }
}

/** @returns false where it was too large */
function addTo(sink: ItemSink, type: string, data: Data, keys: DedupeKey[]): boolean {
  const before = sink.items.length;
  sink.add(type, data);
  const row = sink.items[before];
  if (row !== undefined && keys.length > 0) row.keys = keys;
  return row !== undefined;
}

/** Counts added up, under names that PostgreSQL holds. */
function cleanCounts(...all: Readonly<Record<string, number>>[]): Record<string, number> {
  const counts: Record<string, number> = Object.create(null);
  for (const [name, n] of all.flatMap((one) => Object.entries(one))) {
    const word = countWord(name);
    counts[word] = (counts[word] ?? 0) + n;
  }
  return counts;
}

function dataOf(bytes: Uint8Array): Data {
  const data = JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown;
  if (typeof data !== 'object' || data === null || Array.isArray(data)) throw new Error('an item is no object');
  return data as Data;
}

/** What the page keeps, as PostgreSQL holds it. */
function stateOf(state: Record<string, string | null>): Pick<ParsedPage, 'state'> {
  const entries = Object.entries(state).map(([key, json]): [string, string | null] => [
    clean(key),
    json === null ? null : storedJson(JSON.parse(json)),
  ]);
  return entries.length === 0 ? {} : { state: Object.fromEntries(entries) };
}

/** Well formed, NUL as U+FFFD. */
export function clean(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}
