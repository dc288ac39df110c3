import { LRUCache } from 'lru-cache';
import { ApiError } from '../errors.ts';
import type { ProblemCode } from '../model/problems.ts';
import type { Problem, Spider } from '../model/spider.ts';
import { ParseFailure } from '../parser/failure.ts';

/** What a script says of itself when it is loaded alone. */
export interface ScriptFactsSource {
  describe(script: string): Promise<{ name: string | null; startUrls: string[]; problems: Problem[] }>;
}
type Described = Awaited<ReturnType<ScriptFactsSource['describe']>>;

const MAX_CHARS = 4 * 1024 * 1024;
/** What is wrong with a script is known for so long: a post asks twice, and a busy machine may be what was wrong. */
const WRONG_MS = 10_000;
/** Scripts that are loaded or wait for it: each may take more than a second, and no post is to wait for many. */
const MAX_LOADING = 8;

/** Loads posted scripts, in the sandbox, to know whether they can be and what they export besides callbacks. */
export class ScriptFacts {
  readonly #source: ScriptFactsSource | null;
  /** A post asks twice, and many crawls have one script. */
  readonly #known = new LRUCache<string, Described>({
    maxSize: MAX_CHARS,
    sizeCalculation: (_, script) => script.length,
  });

  /** Those that are being loaded: the same script is loaded once at a time. */
  readonly #loading = new Map<string, Promise<Described>>();

  /** @param source null: scripts are off */
  constructor(source: ScriptFactsSource | null) {
    this.#source = source;
  }

  /** What is wrong with the script of a spider of whatever shape; pointers begin at the spider. */
  async problems(spider: Spider | unknown): Promise<Problem[]> {
    const script = scriptOf(spider);
    if (script === null) return [];
    return (await this.#describe(script)).problems;
  }

  /** The spider with the name and the start URLs that its script exports, where it has none beside the script. */
  async complete(spider: Spider): Promise<Spider> {
    const script = scriptOf(spider);
    if (script === null || (spider.name !== undefined && spider.startUrls !== undefined)) return spider;
    const { name, startUrls } = await this.#describe(script);
    const given = {
      ...(name === null ? {} : { name }),
      ...(startUrls.length === 0 ? {} : { startUrls }),
    };
    return { ...given, ...spider };
  }

  async #describe(script: string): Promise<Described> {
    if (this.#source === null) return refused('scripts_off', OFF);
    const known = this.#known.get(script);
    if (known !== undefined) return known;
    let loading = this.#loading.get(script);
    if (loading === undefined) {
      if (this.#loading.size >= MAX_LOADING)
        throw new ApiError('too_busy', `This node has ${MAX_LOADING} scripts to load; try again in a second`);
      loading = this.#load(this.#source, script).finally(() => this.#loading.delete(script));
      this.#loading.set(script, loading);
    }
    return loading;
  }

  async #load(source: ScriptFactsSource, script: string): Promise<Described> {
    try {
      const described = await source.describe(script);
      const isRight = described.problems.length === 0;
      this.#known.set(script, described, isRight ? {} : { ttl: WRONG_MS });
      return described;
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error;
      return refused('bad_script', `the script could not be loaded: ${error.message}`);
    }
  }
}

const OFF =
  'this service runs no scripts: others can reach it (HOST is not loopback), or SCRIPTS is off; set SCRIPTS=on, or say what to extract in `pages`';

function refused(code: ProblemCode, message: string): Described {
  return { name: null, startUrls: [], problems: [{ pointer: '/script', code, message }] };
}

function scriptOf(spider: unknown): string | null {
  if (typeof spider !== 'object' || spider === null) return null;
  const { script } = spider as { script?: unknown };
  return typeof script === 'string' && script !== '' ? script : null;
}
