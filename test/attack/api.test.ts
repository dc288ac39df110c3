import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type TestApi, testApi } from '../routes/api.ts';

const MANY = 'found an object of 5001 fields; expected at most 5000 in one object';

interface FieldProblem {
  pointer: string;
  code: string;
}

/** What a client may send that means no good. Nothing is timed; what took seconds shows by what is no longer looked at. */
describe('hostile clients', () => {
  let api: TestApi;
  before(async () => {
    api = await testApi();
  });
  after(() => api?.stop());

  const start = (body: object) => api.call('POST', '/crawls', { startUrls: ['https://books.example/'], ...body });
  const problems = (json: Record<string, unknown>) => json.errors as FieldProblem[];

  it('of a flood of unknown fields a hundred are named', async () => {
    const flood = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, 1]));
    const answer = await start({ settings: flood });
    assert.equal(answer.status, 422);
    assert.equal(problems(answer.json).length, 100);
  });

  it('no name is so long that a hundred pointers with it would be megabytes', async () => {
    const long = 'k'.repeat(500_000);
    const answer = await start({ spider: { pages: [{ items: [{ fields: { [long]: { value: { a: 5, b: 5 } } } }] }] } });
    assert.deepEqual([answer.status, problems(answer.json).map(({ code }) => code)], [422, ['bad_name']]);
    assert.ok(answer.text.length < 2000, `${answer.text.length} characters`);
  });

  it('a name with a line break is read as any other', async () => {
    const form = { 'a\nb': 5, c: 5 };
    const answer = await start({ startUrls: [{ url: 'https://books.example/', form }], labels: { 'a\nb': [] } });
    const pointers = problems(answer.json).map(({ pointer, code }) => [pointer, code]);
    assert.deepEqual(pointers, [
      ['/startUrls/0/form/a\nb', 'wrong_type'],
      ['/startUrls/0/form/c', 'wrong_type'],
      ['/labels/a\nb', 'wrong_type'],
    ]);
  });

  it('a body that no object can safely be made of says so', async () => {
    const answer = await api.call('POST', '/crawls', '{"params":{"__proto__":{"a":1}}}');
    assert.deepEqual([answer.status, answer.json.type], [400, 'invalid_json']);
    assert.match(answer.text, /`__proto__`/);
    const broken = await api.call('POST', '/crawls', '{"startUrls":["a" "b"]}');
    assert.match(String(broken.json.detail), /position 18/);
  });

  it('an object of more fields than any needs is not looked at', async () => {
    const labels = Object.fromEntries(Array.from({ length: 5001 }, (_, i) => [`k${i}`, 'x']));
    const answer = await start({ labels });
    assert.deepEqual([answer.status, problems(answer.json)], [422, [{ pointer: '', code: 'too_long', message: MANY }]]);
  });

  it('of a flood of bad start URLs a hundred are named', async () => {
    const answer = await start({ startUrls: Array.from({ length: 5000 }, (_, i) => `no url ${i}`) });
    assert.equal(answer.status, 422);
    assert.equal(problems(answer.json).length, 100);
    assert.match(answer.text, /At least 100 fields are not valid/);
  });

  it('a host name that is too long is refused before punycode sees it', async () => {
    const name = Array.from({ length: 2000 }, (_, i) => String.fromCodePoint(0x4e00 + 3 * i)).join('');
    for (const url of [`http://${name}/`, `http:${name}`, `\thttp:/\n/${name}`, `http://a@${name}`]) {
      const answer = await start({ startUrls: [url] });
      assert.deepEqual([answer.status, problems(answer.json)[0]?.code], [422, 'bad_url'], url.slice(0, 20));
      assert.match(answer.text, /longer than 253/);
    }
  });

  it('a body whose brackets nest deep is refused before it is read, and brackets in texts are none', async () => {
    for (const body of ['['.repeat(400_000), `{"spider":${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}}`]) {
      const answer = await api.call('POST', '/crawls', body);
      assert.deepEqual([answer.status, problems(answer.json)[0]?.code], [422, 'too_deep']);
    }
    const text = `${'['.repeat(200)}\\"${'{'.repeat(200)}`;
    assert.equal((await start({ labels: { text } })).status, 201);
  });

  it('headers for every request are few, and none that a server waits for', async () => {
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`x-${i}`, '1']));
    const found = await start({ settings: { headers: many } });
    assert.deepEqual(
      problems(found.json).map(({ pointer, code }) => [pointer, code]),
      [['/settings/headers', 'too_long']],
    );
    const expect = await start({ settings: { headers: { Expect: '100-continue' } } });
    assert.equal(problems(expect.json)[0]?.pointer, '/settings/headers/Expect');
  });

  it('a forged cursor is a 422, whatever time it names', async () => {
    const id = await api.start();
    const times = [
      '2026-02-30 00:00:00+00',
      '0000-01-01 00:00:00',
      '2026-01-01 00:00:00+99:99',
      '2026-01-01 00:00:00::',
    ];
    for (const time of times) {
      const cursor = Buffer.from(`${time}|${id}`).toString('base64url');
      const answer = await api.call('GET', `/crawls?cursor=${cursor}`);
      assert.deepEqual([answer.status, problems(answer.json)?.[0]?.pointer], [422, '?cursor'], time);
    }
  });

  it('a path that climbs out of the files of /docs is not found', async () => {
    const answer = await api.call('GET', '/docs/static/%2e%2e/%2e%2e/package.json');
    assert.deepEqual([answer.status, answer.json.type], [404, 'not_found']);
  });

  it('names of an object’s own are names like others', async () => {
    const names = { constructor: 'a', toString: 'b', hasOwnProperty: 'c', valueOf: 'd' };
    const answer = await start({ labels: names });
    assert.equal(answer.status, 201, answer.text);
    assert.deepEqual(answer.json.labels, names);
    assert.equal((await api.call('POST', '/crawls', '{"labels":{"\\u005f_proto__":"x"}}')).status, 400);
  });

  it('half characters and NUL are stored as U+FFFD, and never as an error', async () => {
    for (const text of ['\ud800', 'a\0b', '\\u0000', '\\\udc00']) {
      const pages = [{ items: [{ fields: { [text]: { selector: 'a', default: { [text]: text } } } }] }];
      const answer = await start({ labels: { [text]: text }, spider: { description: text, pages } });
      assert.equal(answer.status, 201, answer.text);
    }
  });

  it('parameters to drop are found by name and by prefix', async () => {
    const settings = { dropParams: ['sid', 'utm_*', 'u*x', '*ref'] };
    const startUrls = ['?sid=1', '?utm_a=1&sid', '?utm_', ''].map((query) => `https://books.example/${query}`);
    const id = String((await start({ startUrls, settings })).json.id);
    const { json } = await api.call('GET', `/crawls/${id}/requests`);
    assert.deepEqual(
      (json.requests as { url: string }[]).map(({ url }) => url),
      ['https://books.example/'],
    );
    assert.equal((await start({ startUrls: ['https://b.example/?sidx&u*x&*ref'], settings })).status, 201);
  });
});
