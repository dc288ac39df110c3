import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let db: TestDatabase;
let service: Service;
let site: Site;
before(async () => {
  db = await testDatabase();
  site = await startSite(answer);
  service = await startService({
    DATABASE_URL: db.url,
    EGRESS_ALLOW: '127.0.0.1/32',
    SCRIPTS: 'on',
    PARSER_THREADS: '2',
  });
});
after(async () => {
  await service.stop();
  await site.close();
  await db.drop();
});

const SHOP = `<title>Shop</title>
  <article class="product"><h3>Emma</h3><p class="price">£17.99</p><a href="/emma?utm_source=x">more</a></article>
  <article class="product"><h3>Ulysses</h3><a href="/ulysses">more</a></article>
  <a class="next" href="/shop?page=2">next</a> <a href="https://elsewhere.example/">out</a>`;

/** The shop, and pages that lead elsewhere. */
function answer(req: IncomingMessage, res: ServerResponse): void {
  const path = req.url ?? '';
  const send = (status: number, headers: Record<string, string>, body = '') => res.writeHead(status, headers).end(body);
  if (path === '/robots.txt') return void send(200, {}, 'User-agent: *\nDisallow: /private\n');
  if (path === '/moved') return void send(302, { location: '/login', 'set-cookie': 'first=1' });
  if (path === '/login') return void send(302, { location: '/shop', 'set-cookie': 'second=2; Path=/' });
  if (path === '/away') return void send(302, { location: `http://127.0.0.2:${site.port}/shop` });
  if (path === '/loop') return void send(302, { location: '/loop' });
  if (path === '/to-private') return void send(302, { location: '/private/x' });
  if (path === '/gone') return void send(404, { 'content-type': 'text/html' }, 'gone');
  if (path === '/picture') return void send(200, { 'content-type': 'image/png' }, 'png');
  if (path === '/silent') return;
  send(200, { 'content-type': 'text/html; charset=utf-8' }, SHOP);
}

const SPIDER = {
  pages: [
    {
      name: 'list',
      items: [
        {
          type: 'book',
          each: 'article.product',
          fields: { title: 'h3', price: { selector: '.price', as: 'number' }, isbn: '.isbn' },
        },
      ],
      follow: [{ selector: 'a.next', priority: 10 }, { selector: 'article a' }, { selector: 'a[href^=http]' }],
    },
  ],
};

interface PreviewAnswer {
  url: string;
  status: number | null;
  redirects: { url: string; status: number; to: string }[];
  fetched: { ms: number; bytes: number; contentType: string; cookies: string[] } | null;
  outcome: { state: string; reason: string | null; detail: string | null };
  content: string | null;
  pages: string[];
  items: { type: string; data: Record<string, unknown> }[];
  dropped: Record<string, number>;
  fields: { pointer: string; source: string; text: string; hits: number }[];
  links: { kept: { url: string; rule: string }[]; dropped: { url: string; reason: string; rule: string | null }[] };
  counts: Record<string, number>;
  logs: { level: string; message: string }[];
  state: Record<string, unknown>;
  tree: { pointer: string; text: string; why: string }[] | null;
  flags: string[];
  timing: Record<string, number>;
  warnings: string[];
}

interface Problems {
  type: string;
  errors: { pointer: string; code: string; message: string }[];
}

async function post<T>(path: string, body: unknown): Promise<{ status: number; headers: Headers; json: T }> {
  const response = await fetch(service.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, json: (await response.json()) as T };
}

async function preview(body: object): Promise<PreviewAnswer> {
  const answered = await post<PreviewAnswer>('/spiders/preview', body);
  assert.equal(answered.status, 200, JSON.stringify(answered.json));
  return answered.json;
}

async function put(name: string, definition: object): Promise<void> {
  const response = await fetch(`${service.url}/spiders/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(definition),
  });
  assert.ok(response.ok, await response.text());
}

const paths = () => site.hits.map(({ url }) => url);

async function storedRows(): Promise<object> {
  const [row] = await db.sql`
    select (select count(*) from crawls)::int as crawls, (select count(*) from requests)::int as requests,
      (select count(*) from host_queues)::int as queues, (select count(*) from items)::int as items,
      (select count(*) from crawl_counts)::int as counts, (select count(*) from crawl_logs)::int as logs,
      (select count(*) from crawl_state)::int as state, (select count(*) from item_keys)::int as keys,
      (select count(*) from page_links)::int as links, (select count(*) from idempotency_keys)::int as answers,
      (select count(*) from spiders)::int as spiders, (select count(*) from spider_versions)::int as versions`;
  return { ...row };
}

describe('POST /spiders/preview of a URL', () => {
  it('gives items, the hits of each selector, and links with what decided; nothing is stored', async () => {
    const rows = await storedRows();
    const answered = await preview({ spider: SPIDER, url: `${site.url}/shop#top` });
    assert.deepEqual(await storedRows(), rows);
    const { url, status, outcome, content, pages, items, counts } = answered;
    assert.deepEqual(
      { url, status, outcome, content, pages },
      {
        url: `${site.url}/shop`,
        status: 200,
        outcome: { state: 'done', reason: null, detail: null },
        content: 'html',
        pages: ['list'],
      },
    );
    assert.deepEqual(
      items.map(({ type, data }) => [type, data.title, data.price]),
      [
        ['book', 'Emma', 17.99],
        ['book', 'Ulysses', null],
      ],
    );
    const hits = Object.fromEntries(answered.fields.map((field) => [field.pointer, field.hits]));
    assert.equal(hits['/pages/0/items/0/each'], 2);
    assert.equal(hits['/pages/0/items/0/fields/title'], 2);
    assert.equal(hits['/pages/0/items/0/fields/isbn'], 0);
    assert.deepEqual(answered.links.kept.map((link) => link.url).sort(), [
      `${site.url}/emma`,
      `${site.url}/shop?page=2`,
      `${site.url}/ulysses`,
    ]);
    assert.deepEqual(
      answered.links.dropped.map(({ url: dropped, reason }) => [dropped, reason]),
      [['https://elsewhere.example/', 'offsite']],
    );
    assert.deepEqual(counts, { items: 2, linksKept: 3, linksDropped: 1 });
    assert.equal(answered.fetched?.contentType, 'text/html; charset=utf-8');
    assert.equal(answered.fetched?.bytes, Buffer.byteLength(SHOP));
    assert.ok(answered.timing.total! >= answered.timing.fetch!);
    assert.ok(
      answered.warnings.some((warning) => warning.includes('isbn')),
      'a field that matched nothing is named',
    );
  });

  it('follows redirects inside the scope with their cookies, and lists them', async () => {
    const from = site.hits.length;
    const answered = await preview({ spider: SPIDER, url: `${site.url}/moved` });
    assert.deepEqual(
      answered.redirects.map(({ url, status, to }) => [new URL(url).pathname, status, new URL(to).pathname]),
      [
        ['/moved', 302, '/login'],
        ['/login', 302, '/shop'],
      ],
    );
    assert.deepEqual([answered.url, answered.items.length], [`${site.url}/shop`, 2]);
    const cookies = site.hits.slice(from).map(({ headers }) => headers.cookie);
    assert.equal(cookies.at(-1), 'first=1; second=2');
  });

  const refused: [string, object, string, string, RegExp][] = [
    ['a redirect out of the scope', { url: '/away' }, 'skipped', 'offsite', /scope/],
    ['a redirect that robots.txt forbids', { url: '/to-private' }, 'skipped', 'robots', /disallows/],
    ['a loop of redirects', { url: '/loop', settings: { maxRedirects: 3 } }, 'failed', 'too_many_redirects', /3/],
    ['a page that robots.txt forbids', { url: '/private/a' }, 'skipped', 'robots', /robots/],
    ['a page that is not there', { url: '/gone' }, 'failed', 'http_4xx', /404/],
    ['a page that is no page', { url: '/picture' }, 'skipped', 'content_type', /image\/png/],
    ['a page that never comes', { url: '/silent', settings: { timeoutMs: 200 } }, 'failed', 'timeout', /./],
    [
      'a page outside the scope',
      { url: '/shop', spider: { ...SPIDER, scope: { hosts: ['elsewhere.example'] } } },
      'skipped',
      'offsite',
      /scope\.hosts/,
    ],
  ];
  for (const [name, { url, ...rest }, state, reason, detail] of refused as [
    string,
    { url: string },
    string,
    string,
    RegExp,
  ][])
    it(`answers with what a crawl would make of ${name}`, async () => {
      const from = site.hits.length;
      const answered = await preview({ spider: SPIDER, url: site.url + url, ...rest });
      assert.deepEqual([answered.outcome.state, answered.outcome.reason], [state, reason]);
      assert.match(answered.outcome.detail ?? '', detail);
      assert.deepEqual(answered.items, []);
      if (url === '/to-private') assert.equal(answered.redirects.length, 1);
      const fetched = paths().slice(from);
      if (reason === 'robots') assert.ok(!fetched.some((path) => path.startsWith('/private')), String(fetched));
      if (name === 'a page outside the scope') assert.deepEqual(fetched, []);
    });

  it('the egress guard holds', async () => {
    const answered = await preview({ spider: SPIDER, url: `http://127.0.0.2:${site.port}/shop` });
    assert.deepEqual([answered.outcome.state, answered.outcome.reason], ['skipped', 'egress']);
  });

  it('a node that only serves the API previews as well, and has the host when the other one is done with it', async () => {
    const other = await startService({ DATABASE_URL: db.url, EGRESS_ALLOW: '127.0.0.1/32', ROLE: 'api' });
    try {
      const response = await fetch(`${other.url}/spiders/preview`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ spider: SPIDER, url: `${site.url}/shop` }),
      });
      const answered = (await response.json()) as PreviewAnswer;
      assert.deepEqual([answered.outcome.state, answered.items.length], ['done', 2], JSON.stringify(answered.outcome));
    } finally {
      await other.stop();
    }
  });

  it('18: a host that is left alone for longer than a preview waits: it says so at once, and until when', async () => {
    const until = new Date(Date.now() + 600_000).toISOString();
    await db.sql`insert into hosts (origin, next_at) values ('http://127.0.0.1:9', ${until})`;
    const { outcome } = await preview({ spider: SPIDER, url: 'http://127.0.0.1:9/' });
    assert.deepEqual([outcome.state, outcome.reason], ['failed', 'timeout']);
    assert.match(outcome.detail ?? '', new RegExp(`^its host is left alone until ${until}`));
  });

  it('robots.txt is not asked where the settings say so', async () => {
    const answered = await preview({ spider: SPIDER, url: `${site.url}/private/b`, settings: { robots: false } });
    assert.equal(answered.items.length, 2);
  });
});

describe('POST /spiders/preview of a page that is given', () => {
  it('touches no network', async () => {
    const hits = site.hits.length;
    const { connections } = site;
    const answered = await preview({ spider: SPIDER, url: `${site.url}/private/given`, html: SHOP });
    assert.deepEqual([answered.items.length, answered.fetched, answered.status], [2, null, 200]);
    assert.deepEqual([site.hits.length, site.connections], [hits, connections]);
  });

  it('is read by its content type, as UTF-8 whatever that says', async () => {
    const spider = { pages: [{ items: [{ fields: { name: { json: 'name' } } }] }] };
    const answered = await preview({
      spider,
      url: 'https://api.example/',
      html: '{"name":"Zoë"}',
      contentType: 'application/json; charset=iso-8859-1',
    });
    assert.deepEqual(
      answered.items.map(({ data }) => data),
      [{ name: 'Zoë' }],
    );
  });

  it('is given to a named page entry, with what the page before passed on', async () => {
    const spider = {
      pages: [
        { name: 'list', items: [{ fields: { title: 'title' } }] },
        {
          name: 'detail',
          match: ['/nowhere'],
          items: [{ fields: { h: 'h3', from: { meta: 'passed:from' } } }],
        },
      ],
    };
    const answered = await preview({ spider, url: site.url, html: SHOP, page: 'detail', pass: { from: 'list' } });
    assert.deepEqual(answered.pages, ['detail']);
    assert.deepEqual(answered.items[0]?.data, { h: 'Emma', from: 'list' });
    const wrong = await post<Problems>('/spiders/preview', { spider, url: site.url, html: SHOP, page: 'detial' });
    assert.deepEqual([wrong.status, wrong.json.errors[0]?.pointer], [422, '/page']);
    assert.match(wrong.json.errors[0]!.message, /did you mean detail\?/);
  });

  it('without a spider: what the default spider makes of it', async () => {
    const answered = await preview({ url: site.url, html: SHOP });
    assert.equal(answered.items[0]?.type, 'page');
    assert.equal(answered.items[0]?.data.title, 'Shop');
  });

  it('by the name of a stored spider, at a version', async () => {
    await put('previewed', SPIDER);
    await put('previewed', { pages: [{ items: [{ fields: { t: 'title' } }] }] });
    assert.equal((await preview({ spider: 'previewed@1', url: site.url, html: SHOP })).items.length, 2);
    assert.equal((await preview({ spider: 'previewed', url: site.url, html: SHOP })).items.length, 1);
    const unknown = await post<Problems>('/spiders/preview', { spider: 'previewd', url: site.url });
    assert.deepEqual([unknown.status, unknown.json.errors[0]?.code], [422, 'unknown_spider']);
    assert.match(unknown.json.errors[0]!.message, /did you mean previewed\?/);
  });
});

describe('POST /spiders/preview of a script', () => {
  const script = `export default {
    name: 'scripted',
    async *parse(response, ctx) {
      ctx.log('on ' + response.url);
      await ctx.state.set('seen', { pages: 1 });
      const page = await ctx.fetch(response.urljoin('/emma'));
      yield { title: response.css('title').text(), behind: page.css('h3').text() };
      yield ctx.follow('/shop?page=2', { callback: 'parse' });
    },
    async broken(response) { throw new Error('no such luck'); },
  };`;

  it('gives items, links, logs and state, with calls made as in a crawl; nothing is stored', async () => {
    const rows = await storedRows();
    const from = site.hits.length;
    const answered = await preview({ spider: { script }, url: `${site.url}/shop` });
    assert.deepEqual(await storedRows(), rows);
    assert.deepEqual(
      answered.items.map(({ data }) => data),
      [{ title: 'Shop', behind: 'Emma' }],
      JSON.stringify(answered),
    );
    assert.deepEqual(
      answered.links.kept.map((link) => link.url),
      [`${site.url}/shop?page=2`],
    );
    assert.match(answered.logs[0]?.message ?? '', /^on http/);
    assert.deepEqual(answered.state, { seen: { pages: 1 } });
    assert.deepEqual(answered.pages, ['parse']);
    assert.deepEqual(paths().slice(from), ['/shop', '/emma']);
  });

  it('29: a script that never ends is ended and says so, and the next preview runs', async () => {
    const burning = 'export default { parse() { for (;;); } };';
    const answered = await preview({
      spider: { script: burning },
      url: site.url,
      html: SHOP,
      settings: { parseTimeoutMs: 200 },
    });
    assert.equal(answered.outcome.state, 'failed', JSON.stringify(answered.outcome));
    assert.ok(['parse_timeout', 'script_error'].includes(answered.outcome.reason ?? ''), answered.outcome.reason ?? '');
    const after = await preview({ spider: { script }, url: `${site.url}/shop` });
    assert.equal(after.items.length, 1);
  });

  it('says what is wrong with a callback, with what it logged', async () => {
    const answered = await preview({ spider: { script }, url: site.url, html: SHOP, page: 'broken' });
    assert.deepEqual([answered.outcome.state, answered.outcome.reason], ['failed', 'script_error']);
    assert.match(answered.outcome.detail ?? '', /no such luck/);
    const wrong = await post<Problems>('/spiders/preview', { spider: { script: 'export default {' }, url: site.url });
    assert.deepEqual([wrong.status, wrong.json.errors[0]?.pointer], [422, '/spider/script']);
  });
});

describe('POST /spiders/preview of a pipeline', () => {
  it('runs the steps, and drops what a crawl would drop', async () => {
    const pipeline = [
      { validate: { type: 'object', properties: { price: { type: 'number' } } }, type: 'book' },
      { set: { source: 'web' } },
      { enrich: { url: `http://127.0.0.1:${site.port}/none`, set: { score: 'score' }, timeoutMs: 100, retries: 0 } },
      { dedupe: { key: ['source'] } },
    ];
    const answered = await preview({ spider: { ...SPIDER, pipeline }, url: site.url, html: SHOP + SHOP });
    assert.deepEqual(
      answered.items.map(({ data }) => [data.title, data.source]),
      [['Emma', 'web']],
      JSON.stringify(answered),
    );
    assert.equal(
      Object.values(answered.dropped).reduce((sum, n) => sum + n, 0),
      3,
      JSON.stringify(answered.dropped),
    );
  });
});

describe('a preview that cannot be', () => {
  it('is refused with every mistake at once', async () => {
    const spider = { pages: [{ items: [{ fields: { a: 'h1[' } }] }], nme: 'x' };
    const answered = await post<Problems>('/spiders/preview', {
      spider,
      url: 'nonsense',
      settings: { headers: { Host: 'x' } },
    });
    assert.equal(answered.status, 422);
    assert.deepEqual(answered.json.errors.map(({ pointer }) => pointer).sort(), [
      '/settings/headers/Host',
      '/spider/nme',
      '/spider/pages/0/items/0/fields/a',
      '/url',
    ]);
    const missing = await post<Problems>('/spiders/preview', { spider: { ...SPIDER, name: 'a b' } });
    assert.deepEqual(missing.json.errors.map(({ pointer }) => pointer).sort(), ['/spider/name', '/url']);
  });

  it('a definition that burns CPU is ended and says so; meanwhile the service answers, and too many are sent away', async () => {
    const html = '<p></p>'.repeat(70_000);
    const spider = { pages: [{ items: [{ fields: { a: ['p:nth-last-of-type(3n+1):nth-child(2n)'] } }] }] };
    const burning = Array.from({ length: 10 }, () =>
      post<PreviewAnswer>('/spiders/preview', { spider, url: site.url, html, settings: { parseTimeoutMs: 500 } }),
    );
    let pending = burning.length;
    for (const one of burning) void one.then(() => pending--);
    assert.equal((await fetch(`${service.url}/spiders`)).status, 200);
    assert.ok(pending > 0, 'the list came while previews were under way');
    const answers = await Promise.all(burning);
    const refused = answers.filter(({ status }) => status === 503);
    const ended = answers.filter(({ status }) => status === 200);
    assert.ok(refused.length > 0 && ended.length >= 4, `${ended.length} ran, ${refused.length} were sent away`);
    for (const { headers, json } of refused) {
      assert.equal(headers.get('retry-after'), '1');
      assert.equal((json as unknown as Problems).type, 'too_busy');
    }
    for (const { json } of ended)
      assert.deepEqual([json.outcome.state, json.outcome.reason], ['failed', 'parse_timeout']);
    assert.equal((await preview({ spider: SPIDER, url: site.url, html: SHOP })).items.length, 2, 'and goes on');
  });
});

describe('POST /spiders/:name/check', () => {
  interface CheckAnswer {
    version: number;
    ok: boolean;
    samples: {
      url: string;
      ok: boolean;
      items: number;
      differences: { pointer: string; message: string }[];
      error: string | null;
    }[];
  }
  const books = [
    { title: 'Emma', price: 17.99, isbn: null },
    { title: 'Ulysses', price: null, isbn: null },
  ];

  it('says that each sample is as expected, or how it differs', async () => {
    const url = `${site.url}/shop`;
    const samples = [
      { url, html: SHOP, items: books, links: [`${site.url}/emma`], minItems: 2 },
      { url, contains: [{ title: 'Emma' }] },
      {
        url,
        html: SHOP,
        items: [{ ...books[0], price: 18 }],
        contains: [{ title: 'Emil' }],
        links: [`${site.url}/x`],
        minItems: 3,
      },
      { url: `${site.url}/gone`, minItems: 1 },
      { url: `${site.url}/private/x` },
    ];
    await put('checked', { ...SPIDER, samples });
    const rows = await storedRows();
    const answered = await post<CheckAnswer>('/spiders/checked/check', {});
    assert.equal(answered.status, 200, JSON.stringify(answered.json));
    assert.deepEqual(await storedRows(), rows);
    assert.deepEqual(
      answered.json.samples.map(({ ok }) => ok),
      [true, true, false, false, false],
    );
    assert.equal(answered.json.ok, false);
    const [, , differs, gone, forbidden] = answered.json.samples;
    assert.deepEqual(
      differs!.differences.map(({ pointer }) => pointer),
      ['/minItems', '/items', '/items/0/price', '/items/1', '/contains/0', '/links/0'],
    );
    assert.match(gone!.error ?? '', /^http_4xx: status 404/);
    assert.match(forbidden!.error ?? '', /^robots: /);
  });

  it('a sample is of any content type, of a page entry by its name, and has params of its own', async () => {
    const definition = {
      params: { type: 'object', properties: { lang: { type: 'string' } } },
      pages: [
        {
          name: 'api',
          match: ['/nowhere'],
          items: [{ fields: { name: { json: 'name' }, lang: { meta: 'param:lang' }, from: { meta: 'passed:from' } } }],
        },
      ],
      samples: [
        {
          url: site.url,
          html: '{"name":"Emma"}',
          contentType: 'application/json',
          page: 'api',
          pass: { from: 1 },
          params: { lang: 'de' },
          items: [{ name: 'Emma', lang: 'de', from: 1 }],
        },
        { url: site.url, html: '{}', contentType: 'application/json', page: 'apy', minItems: 1 },
        { url: site.url, html: '{"name":"x"}', contentType: 'application/json', page: 'api', params: { lang: 5 } },
      ],
    };
    await put('typed', definition);
    const { json } = await post<CheckAnswer>('/spiders/typed/check', { params: { lang: 'en' } });
    assert.deepEqual(
      json.samples.map(({ ok }) => ok),
      [true, false, false],
      JSON.stringify(json),
    );
    assert.match(json.samples[1]!.error ?? '', /did you mean api/);
    assert.match(json.samples[2]!.error ?? '', /\/params\/lang: /);
  });

  it('runs the version that is asked for', async () => {
    const sample = { url: site.url, html: SHOP, minItems: 2 };
    await put('versions', { ...SPIDER, samples: [sample] });
    await put('versions', { pages: [{ items: [{ fields: { t: 'title' } }] }], samples: [sample] });
    const newest = await fetch(`${service.url}/spiders/versions/check`, { method: 'POST' });
    assert.equal(newest.status, 200, 'it needs no body');
    assert.equal(((await newest.json()) as CheckAnswer).ok, false);
    const first = await post<CheckAnswer>('/spiders/versions/check?version=1', {});
    assert.deepEqual([first.json.ok, first.json.version], [true, 1]);
    assert.equal((await post('/spiders/nobody/check', {})).status, 404);
    assert.equal((await post('/spiders/versions/check', { parms: {} })).status, 422);
  });
});
