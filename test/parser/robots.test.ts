import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeRobots } from '../../dist/parser/robots.js';

const allowed = (text: string, path: string, agent = 'Orbweaver/0.1') =>
  judgeRobots(text, [`http://site.test${path}`], agent).allowed[0];
const star = (...rules: string[]) => ['User-agent: *', ...rules].join('\n');

const CASES: [name: string, text: string, path: string, expected: boolean][] = [
  ['nothing', '', '/x', true],
  ['a comment', '# Disallow: /', '/x', true],
  ['an empty Disallow', star('Disallow:'), '/x', true],
  ['everything', star('Disallow: /'), '/x', false],
  ['everything, robots.txt', star('Disallow: /'), '/robots.txt', true],
  ['a prefix', star('Disallow: /a'), '/ab', false],
  ['another prefix', star('Disallow: /a'), '/b', true],
  ['case of paths', star('Disallow: /A'), '/a', true],
  ['the longest, Allow', star('Disallow: /a', 'Allow: /a/b'), '/a/b', true],
  ['the longest, Disallow', star('Allow: /a', 'Disallow: /a/b'), '/a/b', false],
  ['order is nothing', star('Allow: /a/b', 'Disallow: /a'), '/a/b/c', true],
  ['Allow wins a tie', star('Disallow: /a', 'Allow: /a'), '/a', true],
  ['Allow wins a tie, other order', star('Allow: /a', 'Disallow: /a'), '/a', true],
  ['a star', star('Disallow: /*.php'), '/x/y.php?q', false],
  ['a star at the end', star('Disallow: /a*'), '/abc', false],
  ['two stars', star('Disallow: /*a*b'), '/xaxb', false],
  ['two stars, other order', star('Disallow: /*a*b'), '/xbxa', true],
  ['the end', star('Disallow: /*.php$'), '/x.php', false],
  ['the end, more', star('Disallow: /*.php$'), '/x.php?q', true],
  ['a dollar inside', star('Disallow: /a$b'), '/a$bc', false],
  ['the query', star('Disallow: /*?sort='), '/x?sort=1', false],
  ['the root alone', star('Disallow: /$'), '/', false],
  ['the root alone, others', star('Disallow: /$'), '/x', true],
  ['own group', `${star('Disallow: /')}\nUser-agent: orbweaver\nDisallow: /p`, '/x', true],
  ['own group, its rule', `${star('Allow: /')}\nUser-agent: orbweaver\nDisallow: /p`, '/p', false],
  ['own group empty', `${star('Disallow: /')}\nUser-agent: orbweaver\nDisallow:`, '/x', true],
  ['agent in capitals', 'USER-AGENT: ORBWEAVER\nDISALLOW: /', '/x', false],
  ['agent with version', 'User-agent: Orbweaver/2.0\nDisallow: /', '/x', false],
  ['agent with words', 'User-agent: Orbweaver the bot\nDisallow: /', '/x', false],
  ['agent that is longer', 'User-agent: OrbweaverX\nDisallow: /', '/x', true],
  ['agent that is shorter', 'User-agent: Orb\nDisallow: /', '/x', true],
  ['someone else', 'User-agent: other\nDisallow: /', '/x', true],
  ['two agents, one group', 'User-agent: other\nUser-agent: orbweaver\nDisallow: /', '/x', false],
  [
    'groups merged',
    'User-agent: orbweaver\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: orbweaver\nDisallow: /c',
    '/c',
    false,
  ],
  [
    'groups merged, the first',
    'User-agent: orbweaver\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: orbweaver\nDisallow: /c',
    '/a',
    false,
  ],
  [
    'not the group between',
    'User-agent: orbweaver\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: orbweaver\nDisallow: /c',
    '/b',
    true,
  ],
  [
    'a sitemap inside a row of agents',
    'User-agent: orbweaver\nSitemap: http://s/\nUser-agent: x\nDisallow: /',
    '/x',
    false,
  ],
  ['a blank line inside a group', 'User-agent: *\n\nDisallow: /', '/x', false],
  ['rules before any agent', 'Disallow: /\nUser-agent: *\nDisallow: /a', '/x', true],
  ['a comment after a rule', star('Disallow: /a # all of it'), '/ab', false],
  ['blanks', '  User-agent :  *  \n\t Disallow :  /a  ', '/a', false],
  ['CR alone', 'User-agent: *\rDisallow: /a', '/a', false],
  ['CRLF', 'User-agent: *\r\nDisallow: /a\r\n', '/a', false],
  ['a byte order mark', '\ufeffUser-agent: *\nDisallow: /a', '/a', false],
  ['unreserved escape in the rule', star('Disallow: /%7Efoo'), '/~foo/x', false],
  ['unreserved escape in the URL', star('Disallow: /~foo'), '/%7efoo', false],
  ['escapes in lower case', star('Disallow: /a%3cd'), '/a%3Cd', false],
  ['a slash escaped is another path', star('Disallow: /a%2Fb'), '/a/b', true],
  ['UTF-8 in the rule', star('Disallow: /ツ'), '/%E3%83%84', false],
  ['UTF-8 escaped in the rule', star('Disallow: /%E3%83%84'), '/ツ', false],
  ['brackets', star('Disallow: /a[1]'), '/a[1]', false],
  ['a bar', star('Disallow: /a|b'), '/a|b', false],
  ['a quote', star("Disallow: /it's"), "/it's", false],
  ['a path of two slashes', star('Disallow: /x'), '//evil/x', true],
  ['a line without colon', star('Disallow /a'), '/a', true],
  ['HTML instead', '<html><body>Not found</body></html>', '/x', true],
  ['__proto__ as agent', 'User-agent: __proto__\nDisallow: /', '/x', true],
];

describe('robots.txt', () => {
  for (const [name, text, path, expected] of CASES)
    it(`${name}: ${path} is ${expected ? 'allowed' : 'disallowed'}`, () => {
      assert.equal(allowed(text, path), expected);
    });
  it('tells the crawl delay of the group that counts', () => {
    const delay = (text: string) => judgeRobots(text, [], 'Orbweaver/0.1').crawlDelaySeconds;
    assert.equal(delay(star('Crawl-delay: 1.5')), 1.5);
    assert.equal(delay(`${star('Crawl-delay: 9')}\nUser-agent: orbweaver\nCrawl-delay: 2`), 2);
    assert.equal(delay(star('Crawl-delay: soon')), null);
    assert.equal(delay(star('Crawl-delay: -1')), null);
    assert.equal(delay(''), null);
  });
  it('judges many URLs at once', () => {
    const urls = ['http://site.test/a', 'http://site.test/b'];
    assert.deepEqual(judgeRobots(star('Disallow: /a'), urls, 'x').allowed, [false, true]);
  });
});
