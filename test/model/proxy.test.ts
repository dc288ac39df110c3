import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyProblems } from '../../dist/model/proxy.js';

test('a proxy that there cannot be: the message says what is wrong with it, and never its password', () => {
  const cases: [string, RegExp | null][] = [
    ['http://10.0.0.1:3128', null],
    ['http://u:hunter2@10.0.0.1:3128', null],
    ['office', null],
    ['home', /no proxy of the name "home"; there are office \(PROXIES\)/],
    ['10.0.0.1:3128', /^found no `http:\/\/` at its start; expected http:\/\/host:port/],
    ['u:hunter2@10.0.0.1:3128', /^found no `http:\/\/`/],
    ['socks5://u:hunter2@10.0.0.1:1080', /^found the scheme socks5, which/],
    ['https://10.0.0.1:3128', /^found the scheme https, which/],
    ['http://u:hunter2@10.0.0.1:3128/path', /^found something behind the host and port/],
    ['http://u:hunter2@:3128', /^found no URL/],
    ['http://u:hunter2%E0%A4%A@10.0.0.1:3128', /%25/],
  ];
  for (const [text, expected] of cases) {
    const [problem] = proxyProblems(text, '/proxy', new Set(['office']));
    if (expected === null) assert.equal(problem, undefined, text);
    else assert.match(problem?.message ?? '', expected, text);
    assert.doesNotMatch(problem?.message ?? '', /hunter2/);
  }
});
