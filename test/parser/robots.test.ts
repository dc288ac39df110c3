import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeRobots, productToken } from '../../dist/parser/robots.js';
import { ROBOTS_CASES } from './robots_table.ts';

const AGENT = 'Orbweaver/0.1';
const octets = (text: string) => Buffer.from(text).toString('latin1');
const judge = (text: string, paths: string[], agent = AGENT) =>
  judgeRobots(
    octets(text),
    paths.map((path) => `http://site.test${path}`),
    agent,
  );
const group = (...rules: string[]) => ['User-agent: *', ...rules].join('\n');

describe('15: robots.txt by RFC 9309', () => {
  for (const [name, cases] of Object.entries(ROBOTS_CASES))
    it(`${name}: ${cases.length} cases`, () => {
      for (const { source, text, path, allowed, agent } of cases) {
        const about = `${source}: ${agent ?? AGENT} at ${path.slice(0, 100)}\n${text.slice(0, 500)}`;
        assert.equal(judge(text, [path], agent).allowed[0], allowed, about);
      }
    });

  it('judges many URLs at once, and says where there is nothing to judge', () => {
    assert.deepEqual(judge(group('Disallow: /a'), ['/a', '/b']).allowed, [false, true]);
    assert.equal(judge(group('Disallow: /a'), ['/b']).allowsAll, false);
    for (const text of ['', group('Allow: /'), group('Disallow:', 'Crawl-delay: 3'), 'User-agent: x\nDisallow: /'])
      assert.equal(judge(text, []).allowsAll, true, text);
  });

  it('takes octets that are no UTF-8 as they are', () => {
    const [caf] = judgeRobots('User-agent: *\nDisallow: /caf\xe9', ['http://site.test/caf%E9/'], AGENT).allowed;
    assert.equal(caf, false);
  });

  it('keeps many files apart', () => {
    for (const _round of [1, 2])
      for (let i = 0; i < 40; i++) {
        const text = `${group(`Disallow: /${i}/`)}\n${'#'.repeat(50_000)}`;
        assert.deepEqual(judge(text, [`/${i}/`, `/${i + 1}/`]).allowed, [false, true]);
      }
  });
});

describe('16: Crawl-delay', () => {
  const delay = (...lines: string[]) => judge(lines.join('\n'), []).crawlDelaySeconds;
  it('is whole, fractional or huge, and nothing else', () => {
    const said: [string, number | null][] = [
      ['2', 2],
      ['1.5', 1.5],
      ['.5', 0.5],
      ['0', 0],
      ['31536000', 31536000],
      ['soon', null],
      ['-1', null],
      ['10s', null],
      ['1e3', null],
      ['', null],
    ];
    for (const [text, seconds] of said) assert.equal(delay(group(`Crawl-delay: ${text}`)), seconds, text);
    assert.equal(delay(''), null);
  });
  it('is that of the groups that count; the longest of several', () => {
    const own = 'User-agent: orbweaver\nCrawl-delay: 2';
    assert.equal(delay(group('Crawl-delay: 9'), own), 2);
    assert.equal(delay(own, 'User-agent: x\nCrawl-delay: 7\nDisallow: /'), 2);
    assert.equal(delay(own, 'Disallow: /', own.replace('2', '5'), 'Crawl-delay: 3'), 5);
    assert.equal(delay(group('Disallow: /'), 'User-agent: x\nDisallow: /\nCrawl-delay: 4'), null);
  });
});

it('15: the product token of a user agent', () => {
  const tokens: [string, string][] = [
    ['Orbweaver/0.1', 'orbweaver'],
    ['MyBot', 'mybot'],
    ['my_bot-2 (+https://x.example)', 'my_bot-2'],
    ['Mozilla/5.0 (compatible; MyBot/1.0; +https://x.example)', 'mybot'],
    ['Mozilla/5.0 (X11; Linux x86_64)', 'mozilla'],
    ['(none)', ''],
  ];
  for (const [userAgent, token] of tokens) assert.equal(productToken(userAgent), token);
});
