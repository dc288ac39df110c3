import type { Sql } from '../db/client.ts';
import { ApiError } from '../errors.ts';
import type { Difference, Preview, PreviewInput, SampleCheck, SpiderCheck } from '../model/preview.ts';
import { DEFAULT_SETTINGS } from '../model/settings.ts';
import type { Params, Sample, Spider } from '../model/spider.ts';
import { ParseFailure, type ParserPool } from '../parser/pool.ts';
import { readSpider } from './spiders.ts';

/** For all samples of a spider: one whose turn comes later is not run. */
const TIME_MS = 120_000;

export interface SamplesOptions {
  sql: Sql;
  preview: (input: PreviewInput, signal: AbortSignal) => Promise<Preview>;
  parser: Pick<ParserPool, 'compare'>;
}

/**
 * Runs every sample of a stored spider through the preview, one after another, and compares.
 *
 * @param version null: the newest
 * @param params below each sample's own
 * @throws ApiError `spider_not_found`
 */
export async function checkSamples(
  options: SamplesOptions,
  { name, version, params }: { name: string; version: number | null; params: Params },
  signal: AbortSignal,
): Promise<SpiderCheck> {
  const spider = await readSpider(options.sql, name, version);
  const deadline = Date.now() + TIME_MS;
  const samples: SampleCheck[] = [];
  for (const sample of spider.definition.samples ?? []) {
    signal.throwIfAborted();
    const late = Date.now() > deadline;
    samples.push(
      late
        ? failed(sample, `not run: the samples before it took longer than ${TIME_MS / 1000} s`)
        : await checkSample(options, spider.definition, { ...sample, params: { ...params, ...sample.params } }, signal),
    );
  }
  return { name, version: spider.version, ok: samples.every(({ ok }) => ok), samples };
}

async function checkSample(
  { preview, parser }: SamplesOptions,
  spider: Spider,
  sample: Sample & { params: Params },
  signal: AbortSignal,
): Promise<SampleCheck> {
  try {
    const result = await preview({ spider, ...pageOf(sample) }, signal);
    if (result.outcome.state !== 'done') return { ...failed(sample, reasonOf(result)), warnings: result.warnings };
    const differences = await parser.compare({
      expected: sample,
      items: result.items.map(({ data }) => data),
      links: result.links.kept.map((link) => link.url),
      settings: { ...DEFAULT_SETTINGS, ...spider.settings },
    });
    return resultOf(sample, result, differences);
  } catch (error) {
    if (error instanceof ParseFailure) return failed(sample, `the comparison: ${error.message}`);
    if (!(error instanceof ApiError)) throw error;
    const details = error.problems.map(({ pointer, message }) => `${pointer}: ${message}`);
    return failed(sample, [error.message, ...details].join('; ').slice(0, 2000));
  }
}

/** The sample without what it expects. */
function pageOf({ items: _, contains: _c, links: _l, minItems: _m, ...page }: Sample): Omit<PreviewInput, 'spider'> {
  return page;
}

function resultOf({ url }: Sample, { items, warnings }: Preview, differences: Difference[]): SampleCheck {
  return { url, ok: differences.length === 0, differences, items: items.length, warnings, error: null };
}

function failed({ url }: Sample, error: string): SampleCheck {
  return { url, ok: false, differences: [], items: 0, warnings: [], error };
}

function reasonOf({ outcome }: Preview): string {
  return outcome.detail === null ? String(outcome.reason) : `${outcome.reason}: ${outcome.detail}`;
}
