import { type Explanation, keptLink } from '../model/explanation.ts';
import { KnownFingerprints } from '../model/known.ts';
import { emptyPage, type ParsedPage } from '../model/outcome.ts';
import type { ParsePlanInput, Pattern } from '../model/spider.ts';
import type { PageInput, ParseTree } from './content.ts';
import { Plan } from './plan.ts';
import type { PageJob } from './protocol.ts';
import { TargetCache } from './targets.ts';
import { Trace } from './trace.ts';

/** Warnings of one kind that are told one by one. */
const MAX_WARNINGS = 50;
/** Selectors that are told: a megabyte of them would hold the event loop. */
const MAX_FIELDS = 1000;
/** Characters of what an engine says of an expression that failed. */
const MAX_FAULT = 200;

export interface Explained {
  page: ParsedPage;
  explanation: Explanation;
}

/**
 * Runs a spider on a page and tells why it made what it made. The plan is compiled for this page alone, with a trace;
 * nothing is known of other pages, so that the explanation has every link; the page has none.
 *
 * @param input null: the response is nothing that is read
 * @param parseHtml5 for spiders with `parser: html5`
 * @throws where the page cannot be parsed
 */
export function explainPage(
  definition: ParsePlanInput,
  input: PageInput | null,
  contentType: string | null,
  parseHtml5: ParseTree | null,
): Explained {
  const trace = new Trace();
  const start = performance.now();
  const plan = new Plan(definition, new KnownFingerprints(1), new TargetCache(), parseHtml5, trace);
  trace.time('compile', start);
  if (input === null || !plan.reads(input.kind)) return unread(trace, input?.kind ?? 'unread', contentType);
  const page = plan.run(input);
  if (page.refreshes === true) return { page, explanation: explanationOf(new Trace(), input.kind) };
  // What a spider without pages does stands in no definition.
  if (definition.definition.pages === undefined) trace.fields.length = 0;
  const explanation = explanationOf(trace, input.kind);
  explanation.warnings.push(...warningsOf(definition, trace, page, input));
  // The explanation has them, each with its reason: to send them twice would hold the event loop.
  return { page: { ...page, links: [], linkedFps: [] }, explanation };
}

/** Where a redirect leads: the page's one link, judged by the scope. */
export function explainRedirect(definition: ParsePlanInput, location: string, job: PageJob): Explained {
  const trace = new Trace();
  const plan = new Plan(definition, new KnownFingerprints(1), new TargetCache(), null, trace);
  return { page: plan.redirect(location, job), explanation: explanationOf(new Trace(), 'redirect') };
}

/** Where a page refreshes to, as a redirect; an empty page where it does not. */
export function explainRefresh(
  definition: ParsePlanInput,
  input: PageInput | null,
  html5: ParseTree | null,
): Explained {
  const plan = new Plan(definition, new KnownFingerprints(1), new TargetCache(), html5, new Trace());
  const page = input === null ? null : plan.refreshed(input);
  return { page: page ?? emptyPage(), explanation: explanationOf(new Trace(), 'redirect') };
}

/** A sitemap's page, explained. */
export function explainSitemap(definition: ParsePlanInput, read: (plan: Plan) => ParsedPage): Explained {
  const trace = new Trace();
  const plan = new Plan(definition, new KnownFingerprints(1), new TargetCache(), null, trace);
  const start = performance.now();
  const page = read(plan);
  trace.time('links', start);
  trace.fields.length = 0;
  const explanation = explanationOf(trace, 'sitemap');
  if (page.links.length === 0) explanation.warnings.push('the sitemap names no URL');
  else if (page.links.every(({ reason }) => reason !== null)) explanation.warnings.push(allDropped(page));
  return { page: { ...page, links: [], linkedFps: [] }, explanation };
}

function unread(trace: Trace, content: string, contentType: string | null): Explained {
  const explanation = { ...explanationOf(trace, content), unread: true };
  const type = contentType === null ? 'no Content-Type' : `the Content-Type ${short(contentType)}`;
  const why = {
    json: 'the page is JSON, and no `json` of the spider reads it',
    text: 'the page is plain text, and no field without a selector reads it',
    xml: 'the page is XML, which a spider without `pages` does not read',
  }[content];
  explanation.warnings.push(
    `${why ?? `a response with ${type} is not read: only HTML, XML, JSON and text are`}; in a crawl it is skipped as content_type`,
  );
  return { page: emptyPage(), explanation };
}

function explanationOf(trace: Trace, content: string): Explanation {
  const links: Explanation['links'] = { kept: [], dropped: [] };
  for (const { link, rule } of trace.links) {
    const { url, reason, detail } = link;
    if (reason === null) links.kept.push(keptLink(link, rule.name));
    else links.dropped.push({ url, reason, rule: detail });
  }
  const told = trace.fields.slice(0, MAX_FIELDS);
  const fields = told.map(({ pointer, source, text, hits }) => ({ pointer, source, text, hits }));
  const ms = Object.fromEntries(
    Object.entries(trace.ms).map(([stage, time]) => [stage, Math.round(time * 1000) / 1000]),
  );
  return { content, pages: [...trace.pages], fields, links, tree: trace.tree, ms, warnings: [] };
}

function warningsOf({ definition }: ParsePlanInput, trace: Trace, page: ParsedPage, input: PageInput): string[] {
  if (definition.pages !== undefined && trace.pages.length === 0) return [noEntryFits(definition.pages, input.url)];
  const warnings = [
    ...[...trace.faults].map(([pointer, fault]) => `${fault.slice(0, MAX_FAULT)}: ${pointer}`),
    ...emptyWarnings(trace, definition.pages ?? []),
    ...defaultWarnings(trace),
    ...Object.entries(page.dropped).map(([reason, count]) => droppedWarning(reason, count)),
    ...page.flags.map((flag) => `the page was cut: it has more ${FLAGS[flag] ?? flag} than are read`),
  ];
  if (page.links.length > 0 && page.links.every(({ reason }) => reason !== null)) warnings.push(allDropped(page));
  return warnings.slice(0, MAX_WARNINGS);
}

const FLAGS: Record<string, string> = { depth: 'levels of elements', links: 'links', items: 'bytes of items' };

/** Selectors of the entries that the page was given to, and that found nothing. What lies in an empty `each` follows from it. */
function emptyWarnings(trace: Trace, pages: readonly { name?: string }[]): string[] {
  const given = new Set(trace.pages);
  const mine = trace.fields.filter(({ pointer }) => {
    const index = Number(pointer.split('/')[2]);
    return given.has(pages[index]?.name ?? String(index));
  });
  const empty = mine.filter(({ hits }) => hits === 0);
  const containers = empty.map(({ pointer, source }) =>
    source === 'each' ? pointer.replace(/each$/, 'fields') : pointer,
  );
  const follows = (pointer: string) => containers.some((container) => pointer.startsWith(`${container}/`));
  return empty
    .filter(({ pointer }) => !follows(pointer) && !trace.faults.has(pointer))
    .map(({ pointer, source, text }) => {
      if (source === 'each')
        return `\`each\` (${short(text)}) matched nothing on this page, so it makes no item: ${pointer}`;
      if (source === 'follow') return `the follow rule (${short(text)}) matched nothing on this page: ${pointer}`;
      return `\`${nameOf(pointer)}\` (${source} ${short(text)}) matched nothing on this page: ${pointer}`;
    });
}

function defaultWarnings(trace: Trace): string[] {
  return trace.fields
    .filter(({ asked, defaulted, hits }) => asked > 0 && asked === defaulted && hits > 0)
    .map(({ pointer }) => `\`${nameOf(pointer)}\` has its default in every item: ${pointer}`);
}

function droppedWarning(reason: string, count: number): string {
  const items = count === 1 ? 'an item was dropped' : `${count} items were dropped`;
  const [word, field] = reason.split(': ', 2);
  if (word === 'required') return `${items}: the required field \`${field}\` has no value`;
  if (word === 'empty') return `${items}: none of its fields finds anything on this page, which is no HTML`;
  return word === 'too_large' ? `${items}: larger than 1 MiB` : `${items}: ${reason}`;
}

function noEntryFits(pages: readonly { match?: readonly Pattern[] }[], url: string): string {
  const patterns = pages.flatMap(({ match = [] }) => match.map((one) => (typeof one === 'string' ? one : one.regex)));
  const path = url.slice(url.indexOf('/', url.indexOf('://') + 3));
  const near = patterns.toSorted((a, b) => shared(b, path) - shared(a, path))[0];
  const hint = near === undefined ? '' : `; the nearest pattern is ${short(near)}`;
  return `no page entry fits ${short(url)}${hint}: the page gives neither items nor links`;
}

/** Characters that a pattern and a path begin with alike. */
function shared(pattern: string, path: string): number {
  const text = pattern.includes('://') ? pattern.slice(pattern.indexOf('/', pattern.indexOf('://') + 3)) : pattern;
  let length = 0;
  while (length < text.length && text[length] === path[length]) length++;
  return length;
}

function allDropped({ links }: ParsedPage): string {
  const reasons = [...new Set(links.map(({ reason }) => reason))];
  if (reasons.length === 1 && reasons[0] === 'offsite')
    return `all ${links.length} links lead outside the scope: name their hosts in \`scope.hosts\` to follow them`;
  return `none of the ${links.length} links is followed: ${reasons.join(', ')}`;
}

function nameOf(pointer: string): string {
  const parts = pointer.split('/').filter((part) => !/^\d+$/.test(part));
  return (parts.at(-1) ?? '').replaceAll('~1', '/').replaceAll('~0', '~');
}

function short(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
