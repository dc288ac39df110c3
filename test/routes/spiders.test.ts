import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { loadCrawls } from '../../dist/db/crawl_runs.js';
import { KnownFingerprints } from '../../dist/model/known.js';
import { ParserPool } from '../../dist/parser/pool.js';
import { type Answer, type TestApi, testApi } from './api.ts';

let api: TestApi;
let parser: ParserPool;
before(async () => {
  parser = new ParserPool({ threads: 1, memoryMb: 128, known: new KnownFingerprints(2 ** 10).buffer });
  await parser.start();
  api = await testApi({ checkSpider: (spider) => parser.check(spider) });
});
after(async () => {
  await api.stop();
  await parser.stop();
});

const titles = (selector: string) => ({ pages: [{ items: [{ fields: { z: selector, a: 'h2' } }] }] });
const errorsOf = (answer: Answer) => answer.json.errors as { pointer: string; code: string; message: string }[];
const pointersOf = (answer: Answer) => errorsOf(answer).map(({ pointer, code }) => [pointer, code]);
const rows = async () => {
  const [row] = await api.sql`
    select (select count(*) from spiders)::int as spiders, (select count(*) from spider_versions)::int as versions,
      (select count(*) from crawls)::int as crawls`;
  return { ...row };
};

describe('POST /spiders', () => {
  it('stores a definition as version 1 and gives it back as it was', async () => {
    const definition = { description: 'Books', ...titles('h1'), name: 'books', startUrls: ['https://books.example/'] };
    const answer = await api.call('POST', '/spiders', definition);
    assert.equal(answer.status, 201, answer.text);
    assert.equal(answer.headers.location, '/spiders/books');
    const { createdAt, updatedAt, ...rest } = answer.json;
    assert.deepEqual(rest, { name: 'books', version: 1, description: 'Books', definition });
    assert.ok(Date.parse(String(createdAt)) > 0 && createdAt === updatedAt);
    assert.match(answer.text, /"fields":\{"z":"h1","a":"h2"\}/, 'fields keep their order');
    const read = await api.call('GET', '/spiders/books');
    assert.equal(read.text, answer.text);
  });

  it('refuses a name that is taken, and changes nothing', async () => {
    await api.call('POST', '/spiders', { name: 'taken', ...titles('h1') });
    const before = await rows();
    const answer = await api.call('POST', '/spiders', { name: 'taken', ...titles('h2') });
    assert.deepEqual([answer.status, answer.json.type], [409, 'spider_exists']);
    assert.deepEqual(await rows(), before);
  });

  it('of many at once, one stores it', async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, i) => api.call('POST', '/spiders', { name: 'raced', ...titles(`h${i}`) })),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409, 409]);
  });

  const wrong: [string, unknown, [string, string][]][] = [
    ['no name', titles('h1'), [['/name', 'required']]],
    ['a bad name', { name: 'a b' }, [['/name', 'bad_format']]],
    ['no object', [], [['', 'wrong_type']]],
    [
      'every mistake at once: of the schema, of the selectors, of the start',
      {
        nme: 'x',
        startUrls: ['ftp://a.example/', 5, 'nonsense'],
        samples: [{ url: 5 }, { url: 'nowhere' }],
        scope: { hosts: ['http://a/', 7, 'b:8'], allow: [{ regex: '(' }] },
        settings: { maxPages: 'x', headers: { Host: 'x' } },
        pages: [{ items: [{ fields: { title: 'h1[' } }, { each: 'div[' }], follow: [{ selector: 'a', maxDepth: -1 }] }],
      },
      [
        ['/name', 'required'],
        ['/nme', 'unknown_field'],
        ['/pages/0/follow/0/maxDepth', 'out_of_range'],
        ['/pages/0/items/0/fields/title', 'bad_selector'],
        ['/pages/0/items/1/fields', 'required'],
        ['/samples/0/url', 'wrong_type'],
        ['/samples/1/url', 'bad_url'],
        ['/scope/allow/0/regex', 'bad_regex'],
        ['/scope/hosts/0', 'bad_host'],
        ['/scope/hosts/1', 'wrong_type'],
        ['/scope/hosts/2', 'bad_host'],
        ['/settings/headers/Host', 'bad_header'],
        ['/settings/maxPages', 'wrong_type'],
        ['/startUrls/0', 'bad_url'],
        ['/startUrls/1', 'wrong_type'],
        ['/startUrls/2', 'bad_url'],
      ],
    ],
  ];
  for (const [name, body, expected] of wrong)
    it(`refuses ${name}, and stores nothing`, async () => {
      const before = await rows();
      const answer = await api.call('POST', '/spiders', body);
      assert.equal(answer.status, 422, answer.text);
      assert.ok(['invalid_spider', 'invalid_request'].includes(String(answer.json.type)));
      const found = pointersOf(answer).map(([pointer, code]) => `${pointer} ${code}`);
      for (const [pointer, code] of expected)
        assert.ok(found.includes(`${pointer} ${code}`), `${pointer}: ${answer.text}`);
      assert.deepEqual(await rows(), before);
    });
});

describe('PUT /spiders/:name', () => {
  it('makes a spider, then a version for each change, and none for the same definition', async () => {
    const put = (body: object) => api.call('PUT', '/spiders/put', body);
    const first = await put(titles('h1'));
    assert.deepEqual([first.status, first.json.version, first.headers.location], [201, 1, '/spiders/put']);
    assert.deepEqual((first.json.definition as { name: string }).name, 'put');
    const same = await put({ ...titles('h1'), name: 'put' });
    assert.deepEqual([same.status, same.json.version], [200, 1]);
    const second = await put(titles('h2'));
    assert.deepEqual([second.status, second.json.version], [200, 2]);
    const back = await put(titles('h1'));
    assert.equal(back.json.version, 3, 'an older definition is a version again');
    const versions = await api.call('GET', '/spiders/put/versions?limit=2');
    assert.deepEqual(
      (versions.json.versions as { version: number }[]).map(({ version }) => version),
      [3, 2],
    );
    assert.equal(versions.json.next, 2);
    const rest = await api.call('GET', '/spiders/put/versions?cursor=2');
    assert.deepEqual([(rest.json.versions as object[]).length, rest.json.next], [1, null]);
    const old = await api.call('GET', '/spiders/put?version=2');
    assert.match(old.text, /"z":"h2"/);
    assert.equal(old.json.version, 2);
  });

  it('two changes at once are two versions', async () => {
    await api.call('PUT', '/spiders/both', titles('h1'));
    const answers = await Promise.all(['h2', 'h3', 'h4', 'h5'].map((h) => api.call('PUT', '/spiders/both', titles(h))));
    assert.deepEqual(answers.map(({ json }) => json.version).sort(), [2, 3, 4, 5]);
    assert.equal((await api.call('GET', '/spiders/both')).json.version, 5);
  });

  it('of two changes of the same version that say so, the second is refused', async () => {
    await api.call('PUT', '/spiders/guarded', titles('h1'));
    const put = (version: number, h: string) => api.call('PUT', `/spiders/guarded?version=${version}`, titles(h));
    const answers = await Promise.all([put(1, 'h2'), put(1, 'h3')]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
    const refused = answers.find(({ status }) => status === 409)!;
    assert.equal(refused.json.type, 'version_conflict');
    assert.match(String(refused.json.detail), /newest version of guarded is 2; this was made from version 1/);
    assert.equal((await put(0, 'h4')).status, 409);
    const before = await rows();
    const none = await api.call('PUT', '/spiders/nobody?version=3', titles('h1'));
    assert.equal(none.status, 409);
    assert.deepEqual(await rows(), before);
    assert.equal((await api.call('PUT', '/spiders/nobody?version=0', titles('h1'))).status, 201);
  });

  it('refuses a bad name, another name in the body, and a bad definition', async () => {
    for (const [path, body] of [
      ['a%20b', titles('h1')],
      ['one', { ...titles('h1'), name: 'two' }],
    ] as const)
      assert.deepEqual(
        pointersOf(await api.call('PUT', `/spiders/${path}`, body)).map(([at]) => at),
        ['/name'],
      );
    const answer = await api.call('PUT', '/spiders/one', titles('h1['));
    assert.deepEqual(
      [answer.json.type, ...pointersOf(answer)[0]!],
      ['invalid_spider', '/pages/0/items/0/fields/z', 'bad_selector'],
    );
  });
});

describe('GET and DELETE /spiders', () => {
  it('lists by name, a page at a time, and by how the names begin', async () => {
    for (const name of ['list-a', 'list-b', 'list-c', 'list-d'])
      await api.call('PUT', `/spiders/${name}`, titles('h1'));
    const seen: string[] = [];
    let cursor = '';
    for (let pages = 0; pages < 5; pages++) {
      const answer = await api.call('GET', `/spiders?q=list-&limit=3${cursor}`);
      seen.push(...(answer.json.spiders as { name: string }[]).map(({ name }) => name));
      if (answer.json.next === null) break;
      cursor = `&cursor=${answer.json.next}`;
    }
    assert.deepEqual(seen, ['list-a', 'list-b', 'list-c', 'list-d']);
    assert.deepEqual((await api.call('GET', '/spiders?q=%00%25_')).json.spiders, []);
  });

  it('says 404 for a spider or version that is not there', async () => {
    await api.call('PUT', '/spiders/gone', titles('h1'));
    assert.equal((await api.call('DELETE', '/spiders/gone')).status, 204);
    for (const [method, path] of [
      ['GET', '/spiders/gone'],
      ['DELETE', '/spiders/gone'],
      ['GET', '/spiders/gone/versions'],
      ['GET', '/spiders/a%00b'],
      ['DELETE', '/spiders/a%00b'],
    ] as const) {
      const answer = await api.call(method, path);
      assert.deepEqual([answer.status, answer.json.type], [404, 'spider_not_found'], path);
    }
    await api.call('PUT', '/spiders/one-version', titles('h1'));
    assert.equal((await api.call('GET', '/spiders/one-version?version=2')).status, 404);
    assert.equal((await api.call('GET', '/spiders/one-version?version=0')).status, 422);
  });
});

describe('POST /crawls with a stored spider', () => {
  const start = { startUrls: ['https://stored.example/'] };

  it('keeps the version that it was started with', async () => {
    await api.call('PUT', '/spiders/kept', titles('h1'));
    await api.call('PUT', '/spiders/kept', titles('h2'));
    const newest = await api.call('POST', '/crawls', { spider: 'kept', ...start });
    const first = await api.call('POST', '/crawls', { spider: 'kept@1', ...start });
    assert.deepEqual(newest.json.spider, { name: 'kept', version: 2 });
    assert.deepEqual(first.json.spider, { name: 'kept', version: 1 });
    await api.call('PUT', '/spiders/kept', titles('h3'));
    await api.call('DELETE', '/spiders/kept');
    const runs = await loadCrawls(api.sql, [String(newest.json.id), String(first.json.id)]);
    const selectors = runs.map(({ definition }) => JSON.stringify(definition.pages)).sort();
    assert.deepEqual(selectors, [JSON.stringify(titles('h1').pages), JSON.stringify(titles('h2').pages)]);
    const listed = await api.call('GET', '/crawls?spider=kept');
    assert.equal((listed.json.crawls as object[]).length, 2);
  });

  it('takes start URLs and settings from the spider', async () => {
    const definition = { ...titles('h1'), startUrls: ['https://own.example/'], settings: { maxPages: 7 } };
    await api.call('PUT', '/spiders/whole', definition);
    const answer = await api.call('POST', '/crawls', { spider: 'whole', settings: { delayMs: 9 } });
    assert.equal(answer.status, 201, answer.text);
    assert.deepEqual(answer.json.startUrls, ['https://own.example/']);
    const settings = answer.json.settings as { maxPages: number; delayMs: number };
    assert.deepEqual([settings.maxPages, settings.delayMs], [7, 9]);
  });

  it('names what is unknown, with the nearest name', async () => {
    await api.call('PUT', '/spiders/bookshop', titles('h1'));
    for (const [spider, message] of [
      ['bokshop', /there is no spider bokshop; did you mean bookshop\?/],
      ['something-else-entirely', /GET \/spiders lists/],
      ['bookshop@9', /has no version 9; its newest is 1/],
      ['bookshop@', /expected a name, or name@version/],
      ['bookshop@x', /expected a name, or name@version/],
      ['a b', /expected a name/],
    ] as const) {
      const answer = await api.call('POST', '/crawls', { spider, ...start });
      assert.equal(answer.status, 422, spider);
      assert.deepEqual(pointersOf(answer), [['/spider', 'unknown_spider']]);
      assert.match(errorsOf(answer)[0]!.message, message);
    }
    const both = await api.call('POST', '/crawls', { spider: 'nobody-here', startUrls: ['ftp://x/'], label: {} });
    assert.deepEqual(pointersOf(both), [
      ['/label', 'unknown_field'],
      ['/spider', 'unknown_spider'],
      ['/startUrls/0', 'bad_url'],
    ]);
    const alone = await api.call('POST', '/crawls', { spider: 'nobody-here' });
    assert.deepEqual(pointersOf(alone), [['/spider', 'unknown_spider']]);
  });

  it('an Idempotency-Key stands for the body, whatever the name means by now', async () => {
    await api.call('PUT', '/spiders/once', titles('h1'));
    const post = () => api.call('POST', '/crawls', { spider: 'once', ...start }, { 'idempotency-key': 'once' });
    const first = await post();
    await api.call('PUT', '/spiders/once', titles('h2'));
    const again = await post();
    assert.equal(again.text, first.text);
    assert.equal(again.headers['idempotent-replayed'], 'true');
  });

  it('a spider that is stored and not valid any more is refused with where in it', async () => {
    await api.call('PUT', '/spiders/stale', titles('h1'));
    const stale = JSON.stringify({ name: 'stale', ...titles('h1[') });
    await api.sql`update spider_versions set definition = ${stale}::text::json where name = 'stale'`;
    const answer = await api.call('POST', '/crawls', { spider: 'stale', ...start });
    assert.deepEqual(pointersOf(answer), [['/spider', 'bad_selector']]);
    assert.match(errorsOf(answer)[0]!.message, /^in stale@1, \/pages\/0\/items\/0\/fields\/z: /);
  });
});

it('a key without the scope write reads spiders and changes none', async () => {
  const locked = await testApi({ config: { apiKeys: [{ name: 'reader', secret: 's', scopes: ['read'] }] } });
  try {
    const headers = { authorization: 'Bearer s' };
    assert.equal((await locked.call('GET', '/spiders', undefined, headers)).status, 200);
    for (const [method, path] of [
      ['POST', '/spiders'],
      ['PUT', '/spiders/a'],
      ['DELETE', '/spiders/a'],
    ] as const)
      assert.equal((await locked.call(method, path, method === 'DELETE' ? undefined : {}, headers)).status, 403);
    assert.equal((await locked.call('GET', '/spiders')).status, 401);
  } finally {
    await locked.stop();
  }
});
