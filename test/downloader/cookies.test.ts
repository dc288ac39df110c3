import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CookieJar } from '../../dist/downloader/cookies.js';

describe('11: CookieJar', () => {
  it('gives cookies back by domain, path, scheme and expiry', () => {
    const jar = new CookieJar();
    assert.equal(jar.header('https://shop.example.com/'), undefined);
    jar.store('https://shop.example.com/a/b', [
      'host=1',
      'wide=2; Domain=example.com; Path=/',
      'deep=3; Path=/a/b',
      'tls=4; Secure; Path=/',
    ]);
    assert.equal(jar.header('https://shop.example.com/a/b'), 'deep=3; host=1; wide=2; tls=4');
    assert.equal(jar.header('http://shop.example.com/'), 'wide=2');
    assert.equal(jar.header('http://www.example.com/'), 'wide=2');
    assert.equal(jar.header('http://example.org/'), undefined);
    jar.store('https://shop.example.com/', 'wide=; Domain=example.com; Path=/; Max-Age=0');
    assert.equal(jar.header('http://www.example.com/'), undefined);
  });

  it('counts Max-Age from the arrival of a cookie, not from its last use', async () => {
    const jar = new CookieJar();
    jar.store('http://a.example/', 'short=1; Max-Age=1');
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      jar.header('http://a.example/');
    }
    assert.equal(jar.header('http://a.example/'), undefined);
  });

  it('takes given cookies: for one host, or with a dot for its subdomains too', () => {
    const jar = new CookieJar();
    jar.give([
      { name: 'one', value: '1', domain: 'Shop.example' },
      { name: 'all', value: '2', domain: '.bücher.example', path: '/x', secure: true },
    ]);
    assert.equal(jar.header('http://shop.example/'), 'one=1');
    assert.equal(jar.header('http://www.shop.example/'), undefined);
    assert.equal(jar.header('https://www.xn--bcher-kva.example/x/y'), 'all=2');
    assert.equal(jar.header('http://www.xn--bcher-kva.example/x/y'), undefined);
    assert.equal(jar.header('https://www.xn--bcher-kva.example/'), undefined);
  });

  it('tells what changed: no cookie that is set again as it was, what is deleted, what has to go', () => {
    const jar = new CookieJar();
    const names = () =>
      (jar.takeChanges() ?? []).map(
        ({ gone, cookie }) => `${gone ? '-' : '+'}${(JSON.parse(cookie) as { key: string }).key}`,
      );
    jar.store('http://a.example/', ['a=1', 'b=1', 'a=2', 'foreign=1; Domain=b.example']);
    assert.deepEqual(names(), ['+a', '+b']);
    jar.store('http://a.example/', ['a=2', 'b=1; HttpOnly', 'c=; Max-Age=0']);
    assert.deepEqual(names(), ['+b']);
    jar.store('http://a.example/', 'a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
    assert.deepEqual(names(), ['-a']);
    for (const name of ['u', 'v', 'x', 'y'])
      jar.store(
        'http://a.example/',
        Array.from({ length: 50 }, (_, i) => `${name}${i}=1`),
      );
    const told = names();
    assert.ok(told.filter((name) => name.startsWith('-')).length >= 20, 'the evicted ones');
    const other = new CookieJar();
    other.load([]);
    assert.equal(other.takeChanges(), undefined);
  });

  it('refuses public suffixes and other sites', () => {
    const jar = new CookieJar();
    jar.store('https://a.co.uk/', ['x=1; Domain=co.uk', 'y=1; Domain=b.co.uk', 'z=1; Domain=uk']);
    for (const url of ['https://a.co.uk/', 'https://b.co.uk/']) assert.equal(jar.header(url), undefined);
  });

  it('works for addresses and localhost', () => {
    const jar = new CookieJar();
    jar.store('http://127.0.0.1:8080/', 'a=1');
    jar.store('http://localhost/', 'b=1');
    assert.equal(jar.header('http://127.0.0.1:9090/x'), 'a=1');
    assert.equal(jar.header('http://localhost/'), 'b=1');
  });

  it('two crawls share nothing', () => {
    const [one, other] = [new CookieJar(), new CookieJar()];
    one.store('http://a.example/', 'id=1');
    other.store('http://a.example/', 'id=2');
    assert.equal(one.header('http://a.example/'), 'id=1');
    assert.equal(other.header('http://a.example/'), 'id=2');
  });

  it('never throws on garbage', () => {
    const jar = new CookieJar();
    const lines = [
      '',
      ';',
      '=',
      '==;;',
      '\u0000',
      'a=\u0000',
      '__proto__=1; Domain=__proto__',
      `big=${'x'.repeat(5000)}`,
      'e=1; Expires=nonsense',
      '🙂=🙂',
      '; Domain=..',
    ];
    jar.store('http://a.example/', lines);
    jar.store('not a url', 'a=1');
    jar.store('http://a.example/', undefined);
    jar.store('http://a.example/%E0%A4%A', 'lone=1');
    assert.doesNotMatch(jar.header('http://a.example/') ?? '', /big/);
    assert.equal(jar.header('not a url'), undefined);
    assert.equal(Object.hasOwn(Object.prototype, 'a'), false);
  });

  it('of one response fifty are read', () => {
    const jar = new CookieJar();
    jar.store(
      'http://a.example/',
      Array.from({ length: 2000 }, (_, i) => `c${i}=1`),
    );
    assert.equal(jar.takeChanges()?.length, 50);
  });

  it('is bounded in cookies and in header bytes', () => {
    const jar = new CookieJar();
    for (let i = 0; i < 400; i++)
      jar.store(
        'http://wide.example/',
        Array.from({ length: 10 }, (_, j) => `c${i}-${j}=${'v'.repeat(50)}`),
      );
    jar.store('http://new.example/', 'last=1');
    assert.equal(jar.header('http://new.example/'), 'last=1');
    const header = jar.header('http://wide.example/') ?? '';
    assert.ok(header.length > 7000 && header.length <= 8000);
  });
});
