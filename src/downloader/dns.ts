import { promises as dns } from 'node:dns';
import { codeOf, FetchError } from './failure.ts';

interface Answer {
  address: string;
  /** Seconds. */
  ttl: number;
}

/** What the cache asks; `dns.promises.Resolver` is one. */
export interface Resolver {
  resolve4(name: string, options: { ttl: true }): Promise<Answer[]>;
  resolve6(name: string, options: { ttl: true }): Promise<Answer[]>;
}

interface Entry {
  answer: Promise<readonly string[]>;
  /** Milliseconds since the epoch; infinite while the question is under way. */
  expires: number;
}

const MAX_TTL_SECONDS = 60;
const FAILURE_TTL_SECONDS = 5;
const MAX_NAMES = 5000;
const MEANING: Record<string, string> = {
  ENOTFOUND: 'the host name does not exist',
  ENODATA: 'the host name has no address',
  ETIMEOUT: 'the name server did not answer in time',
  ESERVFAIL: 'the name server failed',
};

/**
 * Resolver with its own sockets: `dns.lookup` would hold one of the four threads that zlib and the file system need, for
 * as long as a slow name server likes.
 */
function newResolver(): Resolver {
  return new dns.Resolver({ timeout: 2500, tries: 2 });
}

/** Addresses by host name: each question asked once at a time, answers kept for their time to live, 60 s at most. */
export class DnsCache {
  readonly #resolver: Resolver;
  readonly #entries = new Map<string, Entry>();

  constructor(resolver: Resolver = newResolver()) {
    this.#resolver = resolver;
  }

  /**
   * All addresses of a name, IPv4 first; at least one.
   *
   * @throws FetchError `dns`
   */
  lookup(name: string): Promise<readonly string[]> {
    const known = this.#entries.get(name);
    if (known !== undefined && known.expires > Date.now()) return known.answer;
    const asked = this.#ask(name);
    const entry: Entry = {
      answer: asked.then((answers) => answers.map(({ address }) => address)),
      expires: Number.POSITIVE_INFINITY,
    };
    asked.then(
      (answers) => this.#expireIn(entry, Math.min(...answers.map(({ ttl }) => ttl), MAX_TTL_SECONDS)),
      () => this.#expireIn(entry, FAILURE_TTL_SECONDS),
    );
    this.#keep(name, entry);
    return entry.answer;
  }

  async #ask(name: string): Promise<Answer[]> {
    const questions = [this.#resolver.resolve4(name, { ttl: true }), this.#resolver.resolve6(name, { ttl: true })];
    const results = await Promise.allSettled(questions);
    const answers = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
    if (answers.length > 0) return answers;
    const failed = results.find((result) => result.status === 'rejected');
    const code = failed === undefined ? 'ENODATA' : codeOf(failed.reason);
    throw new FetchError('dns', MEANING[code] ?? `the host name cannot be resolved (${code})`);
  }

  #expireIn(entry: Entry, seconds: number): void {
    entry.expires = Date.now() + seconds * 1000;
  }

  #keep(name: string, entry: Entry): void {
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    if (this.#entries.size > MAX_NAMES) this.#entries.delete(this.#entries.keys().next().value!);
  }
}
