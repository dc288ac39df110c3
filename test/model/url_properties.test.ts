import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import { canonicalize, type UrlSettings, urlRules } from '../../dist/model/url.js';
import fc from '../support/property.ts';

const RUNS = 2000;
const RULES = urlRules({ ...DEFAULT_SETTINGS, dropParams: [] });

/** What a URL is made of, in the letters that it means. */
interface Model {
  secure: boolean;
  host: string;
  port: number | null;
  path: string[];
  /** Null: no `=`. */
  query: [string, string | null][];
}

/** Few letters, so that two that were made apart often differ in one place alone. */
const LETTERS = [...'aAbZ09-._~', 'é', '%', '+', ';', '/', '&', '=', ' ', '(', '?'];
const text = fc.array(fc.constantFrom(...LETTERS), { maxLength: 3 }).map((letters) => letters.join(''));
const segment = text.filter((one) => one !== '.' && one !== '..');
const name = text.filter((one) => one !== '');

const model: fc.Arbitrary<Model> = fc.record({
  secure: fc.boolean(),
  host: fc.constantFrom('a.test', 'b.test', 'www.a.test', 'bücher.test', '[::1]', '127.0.0.1'),
  port: fc.constantFrom(null, 80, 443, 8080),
  path: fc.array(segment, { maxLength: 3 }),
  query: fc.array(fc.tuple(name, fc.option(text)), { maxLength: 4 }),
});

/** Two models mean the same where this is equal: parameters count by name, each name's in their order. */
function meaning({ secure, host, port, path, query }: Model): string {
  const isDefault = port === null || port === (secure ? 443 : 80);
  const sorted = query.map(([key, value]) => [key, value]).sort(([a], [b]) => (a! < b! ? -1 : a! > b! ? 1 : 0));
  return JSON.stringify([secure, host, isDefault ? null : port, path.join('\n'), sorted]);
}

/** A way to write a model down: choices that change nothing of what it means. */
interface Spelling {
  escapeAll: boolean;
  lowerHex: boolean;
  upperHost: boolean;
  writePort: boolean;
  dots: boolean;
  fragment: string;
  shuffle: number;
}
const spelling: fc.Arbitrary<Spelling> = fc.record({
  escapeAll: fc.boolean(),
  lowerHex: fc.boolean(),
  upperHost: fc.boolean(),
  writePort: fc.boolean(),
  dots: fc.boolean(),
  fragment: fc.constantFrom('', '#', '#top', '#?a=1'),
  shuffle: fc.nat(1000),
});

function write(what: Model, how: Spelling): string {
  const escaped = (letters: string) => {
    const written = [...letters].map((one) => {
      const always = encodeURIComponent(one).replace(/[()]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
      const bytes = [...Buffer.from(one)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
      const chosen = how.escapeAll ? bytes : always;
      return how.lowerHex
        ? chosen.replace(/%../g, (code) => code.toLowerCase())
        : chosen.replace(/%../g, (code) => code.toUpperCase());
    });
    return written.join('');
  };
  const scheme = what.secure ? 'https' : 'http';
  const port = what.port ?? (how.writePort ? (what.secure ? 443 : 80) : null);
  const host = how.upperHost ? what.host.toUpperCase() : what.host;
  const path = what.path.map(escaped).join(how.dots ? '/./x/../' : '/');
  const params = reordered(what.query, how.shuffle).map(
    ([key, value]) => escaped(key) + (value === null ? '' : `=${escaped(value)}`),
  );
  const query = params.length === 0 ? '' : `?${params.join('&')}`;
  return `${scheme}://${host}${port === null ? '' : `:${port}`}/${path}${query}${how.fragment}`;
}

/** In another order of names; those of one name stay in theirs. */
function reordered(query: Model['query'], seed: number): Model['query'] {
  const names = [...new Set(query.map(([key]) => key))];
  const turned = names.map((_, i) => names[(i + seed) % names.length]!);
  return turned.flatMap((key) => query.filter(([one]) => one === key));
}

const canonical = (url: string) => canonicalize(new URL(url), RULES);

test('21: however a URL is written, its canonical form is the same', () => {
  fc.assert(
    fc.property(model, spelling, spelling, (one, a, b) => {
      assert.deepEqual(canonical(write(one, a)), canonical(write(one, b)));
    }),
    { numRuns: RUNS },
  );
});

test('21: URLs that differ in what they mean stay different', () => {
  fc.assert(
    fc.property(model, model, spelling, spelling, (one, other, a, b) => {
      const isSame = meaning(one) === meaning(other);
      assert.equal(canonical(write(one, a)).fp === canonical(write(other, b)).fp, isSame);
    }),
    { numRuns: RUNS },
  );
});

test('21: one change in path, case, slash, value or blank is another page', () => {
  const change = fc.constantFrom<(one: Model) => Model>(
    (one) => ({ ...one, path: [...one.path, ''] }),
    (one) => ({ ...one, path: ['A', ...one.path] }),
    (one) => ({ ...one, path: one.path.map((part) => part.replace('a', 'A')) }),
    (one) => ({ ...one, query: one.query.map(([key, value], i) => [key, i === 0 ? `${value}x` : value]) }),
    (one) => ({ ...one, query: one.query.map(([key, value]) => [key, value === null ? '' : value]) }),
    (one) => ({ ...one, query: [...one.query, ['a', '']] }),
    (one) => ({ ...one, query: one.query.toReversed() }),
    (one) => ({ ...one, secure: !one.secure }),
  );
  fc.assert(
    fc.property(model, change, spelling, (one, turn, how) => {
      const other = turn(one);
      const isSame = meaning(one) === meaning(other);
      assert.equal(canonical(write(one, how)).fp === canonical(write(other, how)).fp, isSame);
    }),
    { numRuns: RUNS },
  );
});

test('21, 22: the canonical form is its own canonical form, whatever was put in', () => {
  const pieces = [
    ...'%25eE/.;?&=#+ \\~',
    '%2e',
    '%%',
    '..',
    ';sid=1',
    ';jsessionid=',
    '(S(a))',
    '/(A(1))',
    'é',
    'sid',
    'utm_a',
    '\t',
    'a',
  ];
  const url = fc
    .array(fc.constantFrom(...pieces), { maxLength: 12 })
    .map((parts) => `http://a.test./${parts.join('')}`);
  const settings: fc.Arbitrary<UrlSettings> = fc.record({
    sortQuery: fc.boolean(),
    keepFragment: fc.boolean(),
    dropSessionIds: fc.boolean(),
    keepParams: fc.constantFrom([], ['a*']),
    dropParams: fc.constantFrom([], ['utm_*', 'a']),
  });
  fc.assert(
    fc.property(url, settings, (text, chosen) => {
      const rules = urlRules(chosen);
      const once = canonicalize(new URL(text), rules);
      assert.deepEqual(canonicalize(new URL(once.url), rules), once);
    }),
    { numRuns: RUNS },
  );
});
