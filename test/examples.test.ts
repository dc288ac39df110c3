/** Each spider in examples/ does what it says, against a small site of its own. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { checkBooks, ENDED, type Item, postCrawl, waitFor } from './support/client.ts';
import { type TestDatabase, testDatabase } from './support/database.ts';
import { type Service, startService } from './support/service.ts';
import { type Site, startSite } from './support/site.ts';

const FOLDER = new URL('../examples/', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, FOLDER), 'utf8');

let db: TestDatabase;
let service: Service;
const sites: Site[] = [];
before(async () => {
  db = await testDatabase();
  await db.sql`create table products (sku text primary key, stock integer, warehouse text)`;
  await db.sql`insert into products values ('A-1', 3, 'north'), ('B-2', 0, 'south')`;
  service = await startService({
    DATABASE_URL: db.url,
    CONNECTIONS: `warehouse=${db.url}`,
    ENRICH_EGRESS_ALLOW: '127.0.0.0/8',
    SCRIPTS: 'on',
  });
});
after(async () => {
  await service.stop();
  for (const site of sites) await site.close();
  await db.drop();
});

/** Path and query → body; a function answers itself. */
type Pages = Record<string, string | Buffer | ((req: IncomingMessage, res: ServerResponse) => void)>;

const TYPES: [RegExp, string][] = [
  [/\.xml$/, 'application/xml'],
  [/\.gz$/, 'application/gzip'],
  [/\.json$|^\/search/, 'application/json'],
];

async function serve(pages: (url: string) => Pages, host?: string): Promise<Site> {
  let map: Pages = {};
  const site = await startSite(
    (req, res) => {
      const page = map[req.url ?? ''];
      const type = TYPES.find(([pattern]) => pattern.test(req.url ?? ''))?.[1] ?? 'text/html; charset=utf-8';
      if (page === undefined) res.writeHead(404).end();
      else if (typeof page === 'function') page(req, res);
      else res.writeHead(200, { 'content-type': type }).end(page);
    },
    host === undefined ? {} : { host },
  );
  map = pages(site.url);
  sites.push(site);
  return site;
}

/** The example as it is posted, its sites replaced by these. */
function load(file: string, hosts: Record<string, Site>): object {
  let text = read(file);
  for (const [name, site] of Object.entries(hosts))
    text = text.replaceAll(`https://${name}`, site.url).replaceAll(`"${name}"`, '"127.0.0.1"');
  return file.endsWith('.js') ? { script: text } : (JSON.parse(text) as object);
}

/** Crawls to the end; the books balance. */
async function crawl(body: object): Promise<{ items: Item[]; urls: string[] }> {
  const { id } = await postCrawl(service.url, body);
  const ended = await waitFor(service.url, id, ENDED);
  const { items, ledger } = await checkBooks(service.url, id);
  assert.equal(ended.state, 'finished', JSON.stringify(ledger));
  return { items, urls: ledger.filter(({ state }) => state === 'done').map(({ url }) => url) };
}

const data = (items: Item[], type?: string) =>
  items.filter((item) => type === undefined || item.type === type).map((item) => item.data);
const by = (name: string) => (a: Record<string, unknown>, b: Record<string, unknown>) =>
  String(a[name]).localeCompare(String(b[name]));

async function put(name: string, definition: object): Promise<void> {
  const response = await fetch(`${service.url}/spiders/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(definition),
  });
  assert.ok(response.ok, await response.text());
}

it('each example is here, says what it shows, and is stored as it is', async () => {
  const files = readdirSync(FOLDER).filter((file) => /\.js(on)?$/.test(file));
  assert.equal(files.length, 10);
  for (const file of files) {
    const text = read(file);
    assert.match(text, /curl/, `${file} says how to run it`);
    if (file.endsWith('.json'))
      await put(`stored-${file.split('.')[0]}`, { ...(JSON.parse(text) as object), name: undefined });
  }
});

describe('examples/', () => {
  it('shop.json: lists with a next page, and products with typed fields', async () => {
    const product = (n: number) =>
      `<h1>Lamp ${n}</h1><p class=price>£1,${n}49.50</p><p class=sku>SKU: LAM-${n}</p><p class=gallery><img src=/i/${n}.jpg></p>
       <ul class=tags><li>new<li>gift</ul><table class=specs><tr><th>Width<td>20 cm<tr><th>Weight<td>1 kg</table>`;
    const site = await serve(() => ({
      '/': '<p class=card><a href=/product/1>1</a></p><a class=next href=/page/2>next</a><a href=/?sort=name>sort</a>',
      '/page/2': '<p class=card><a href=/product/2>2</a> <a href=/about>about</a></p>',
      '/product/1': product(1),
      '/product/2': product(2),
    }));
    await put('shop', load('shop.json', { 'shop.example': site }));
    const { items } = await crawl({ spider: 'shop' });
    const specs = [
      { name: 'Width', value: '20 cm' },
      { name: 'Weight', value: '1 kg' },
    ];
    assert.deepEqual(
      data(items).sort(by('sku')),
      [1, 2].map((n) => ({
        sku: `LAM-${n}`,
        title: `Lamp ${n}`,
        price: Number(`1${n}49.5`),
        image: `${site.url}/i/${n}.jpg`,
        tags: ['new', 'gift'],
        specs,
        page: `${site.url}/product/${n}`,
      })),
    );
    const checked = await fetch(`${service.url}/spiders/shop/check`, { method: 'POST' });
    assert.equal(((await checked.json()) as { ok: boolean }).ok, true, 'its sample is as expected');
  });

  it('news.json: articles by sitemap, read from JSON-LD', async () => {
    const article = (n: number) => `<script type="application/ld+json">{"@type": "NewsArticle", "headline": "News ${n}",
      "author": [{"@type": "Person", "name": "Ann"}, {"@type": "Person", "name": "Bob"}], "datePublished": "2026-11-${20 + n}T10:00:00Z"}</script>
      <meta property="og:image" content="/i/${n}.jpg"><article><h2>Lead</h2><p>Text <b>${n}</b>.</p></article>`;
    const site = await serve((url) => ({
      '/sitemap.xml': `<sitemapindex><sitemap><loc>${url}/a.xml</loc></sitemap><sitemap><loc>${url}/b.xml.gz</loc></sitemap></sitemapindex>`,
      '/a.xml': `<urlset><url><loc>${url}/article/1</loc></url><url><loc>${url}/about</loc></url></urlset>`,
      '/b.xml.gz': gzipSync(`<urlset><url><loc>${url}/article/2</loc></url></urlset>`),
      '/article/1': article(1),
      '/article/2': article(2),
    }));
    const { items } = await crawl({ spider: load('news.json', { 'news.example': site }) });
    const [first, second] = data(items).sort(by('headline'));
    assert.equal(items.length, 2);
    assert.deepEqual([first!.headline, first!.authors, first!.section], ['News 1', ['Ann', 'Bob'], 'none']);
    assert.equal(first!.published, '2026-11-21T10:00:00Z');
    assert.match(String(second!.body), /## Lead\n\nText \*\*2\*\*\./);
    assert.ok(!site.hits.some(({ url }) => url === '/about'), 'what the scope does not allow is not fetched');
  });

  it('api.json: a JSON API, page by page', async () => {
    const result = (id: string) => ({
      id,
      name: `Lamp ${id}`,
      price: { amount: '12.50' },
      stock: [
        { store: 'north', count: 2 },
        { store: 'south', count: 0 },
      ],
    });
    const site = await serve((url) => ({
      '/search?q=oak%20lamp&page=1': '',
      '/search?page=1&q=oak%20lamp': JSON.stringify({
        results: [result('a'), result('b')],
        links: { next: `${url}/search?q=oak%20lamp&page=2` },
      }),
      '/search?page=2&q=oak%20lamp': JSON.stringify({ results: [result('c')], links: { next: null } }),
    }));
    await put('api', load('api.json', { 'api.example': site }));
    const { items } = await crawl({ spider: 'api', params: { query: 'oak lamp' } });
    assert.deepEqual(
      data(items).sort(by('id')),
      ['a', 'b', 'c'].map((id) => ({ id, name: `Lamp ${id}`, price: 12.5, stores: ['north'], query: 'oak lamp' })),
    );
    const refused = await fetch(`${service.url}/crawls`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ spider: 'api' }),
    });
    assert.equal(refused.status, 422, 'the query is required');
  });

  it('forum.json: a login form, and what only members see', async () => {
    const member = (req: IncomingMessage, res: ServerResponse, body: string) => {
      const isIn = req.headers.cookie === 'session=ann';
      res.writeHead(isIn ? 200 : 403, { 'content-type': 'text/html' }).end(isIn ? body : 'members only');
    };
    const site = await serve(() => ({
      '/login':
        '<form id=login method=post action=/session><input type=hidden name=token value=t1><input name=user><input type=password name=password><button>in</button></form>',
      '/session': (req, res) => {
        let form = '';
        req.on('data', (chunk) => {
          form += chunk;
        });
        req.on('end', () => {
          const fields = Object.fromEntries(new URLSearchParams(form));
          const right = fields.token === 't1' && fields.user === 'ann' && fields.password === 's&cret';
          res
            .writeHead(302, right ? { location: '/board', 'set-cookie': 'session=ann' } : { location: '/login' })
            .end();
        });
      },
      '/board': (req, res) =>
        member(
          req,
          res,
          '<p><a class=thread href=/thread/1>One</a> <span class=replies>2</span></p><a class=older href=/board?page=2>older</a><a href=/logout>out</a>',
        ),
      '/board?page=2': (req, res) =>
        member(req, res, '<p><a class=thread href=/thread/2>Two</a> <span class=replies>1</span></p>'),
      '/thread/1': (req, res) =>
        member(
          req,
          res,
          '<h1>One</h1><div class=post><b class=author>ann</b><div class=text>Hello <i>all</i></div><time datetime="2026-11-01T08:00:00Z"></time></div><div class=post><b class=author>bob</b><div class=text>Hi</div></div>',
        ),
      '/thread/2': (req, res) =>
        member(req, res, '<h1>Two</h1><div class=post><b class=author>cy</b><div class=text>Yo</div></div>'),
    }));
    await put('forum', load('forum.json', { 'forum.example': site }));
    const { items } = await crawl({ spider: 'forum', params: { user: 'ann', password: 's&cret' } });
    assert.deepEqual(data(items).sort(by('author')), [
      { thread: 'One', author: 'ann', text: 'Hello *all*', written: '2026-11-01T08:00:00Z', replies: 2 },
      { thread: 'One', author: 'bob', text: 'Hi', written: null, replies: 2 },
      { thread: 'Two', author: 'cy', text: 'Yo', written: null, replies: 1 },
    ]);
    assert.ok(!site.hits.some(({ url }) => url === '/logout'));
  });

  it('docs.json: a documentation site as Markdown', async () => {
    const site = await serve((url) => ({
      '/guide/':
        '<nav><a href=/guide/install>Install</a><a href=/blog/>Blog</a></nav><main><h1>Guide</h1><p>See <a href=install>how to install</a>.</p></main>',
      '/guide/install': `<p class=breadcrumbs><a href=/guide/>Guide</a></p><main><h1>Install</h1><h2 id=npm>By npm</h2><pre><code class="language-sh">npm ci
npm start</code></pre></main><a href="${url}/guide/print">print</a>`,
    }));
    const { items } = await crawl({ spider: load('docs.json', { 'docs.example': site }) });
    const [guide, install] = data(items).sort(by('title'));
    assert.equal(guide!.markdown, `# Guide\n\nSee [how to install](${site.url}/guide/install).`);
    assert.match(String(install!.markdown), /## By npm\n\n```sh\nnpm ci\nnpm start\n```/);
    assert.deepEqual(install!.headings, [{ text: 'By npm', id: 'npm' }]);
    assert.deepEqual([install!.path, install!.code], [['Guide'], ['npm ci npm start']]);
  });

  it('feed.json: an RSS feed, and the articles behind it', async () => {
    const site = await serve((url) => ({
      '/feed.xml': `<?xml version="1.0"?><rss xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Blog</title>
        <item><title>First &amp; best</title><link>${url}/posts/1</link><pubDate>Mon, 23 Nov 2026 10:00:00 GMT</pubDate><dc:creator>Ann</dc:creator><category>a</category><category>b</category></item>
        </channel></rss>`,
      '/posts/1': '<h1>First and best</h1><span class=words>1,200 words</span><article><p>Text</p></article>',
    }));
    const { items } = await crawl({ spider: load('feed.json', { 'blog.example': site }) });
    assert.deepEqual(data(items, 'entry'), [
      {
        title: 'First & best',
        link: `${site.url}/posts/1`,
        published: '2026-11-23T10:00:00Z',
        author: 'Ann',
        categories: ['a', 'b'],
      },
    ]);
    assert.deepEqual(data(items, 'article'), [
      { feedTitle: 'First & best', title: 'First and best', words: 1200, text: 'Text' },
    ]);
  });

  it('products.json: validated, each once, scored, looked up, and put into shape', async () => {
    const card = (sku: string, title: string, price: string) =>
      `<div class=card data-sku="${sku}"><h3>${title}</h3><b class=price>${price}</b></div>`;
    const site = await serve(() => ({
      '/': `${card('A-1', 'Lamp', '10')}${card('', 'No sku', '5')}${card('C-3', 'Test lamp', '1')}<a class=next href=/2>next</a>`,
      '/2': `${card('A-1', 'Lamp again', '11')}${card('B-2', 'Broken', '20')}${card('D-4', 'Free', '0')}`,
    }));
    const scores = await serve(() => ({
      '/score': (req, res) => {
        let body = '';
        req.on('data', (chunk) => {
          body += chunk;
        });
        req.on('end', () => {
          const { text } = JSON.parse(body) as { text: string };
          if (text === 'Broken') res.writeHead(400).end();
          else res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ score: text.length }));
        });
      },
    }));
    const hosts = { 'shop.example': site, 'score.example': scores };
    const { items } = await crawl({ spider: load('products.json', hosts) });
    const [first, second] = data(items).sort(by('sku'));
    assert.equal(items.length, 2, JSON.stringify(items));
    assert.deepEqual(
      { ...first, name: '' },
      {
        sku: 'A-1',
        name: '',
        price: first!.price,
        score: String(first!.name).length,
        stock: 3,
        store: 'north',
        source: 'web',
      },
    );
    assert.deepEqual([second!.sku, second!.score ?? null, second!.stock], ['B-2', null, 0]);
  });

  it('gather.js: a script that awaits pages behind the page', async () => {
    const card = (n: number, price: string) =>
      `<div class=card data-sku=S${n}><h3>Lamp ${n}</h3><b class=price>${price}</b><a href=/p/${n}>more</a></div>`;
    const site = await serve(() => ({
      '/': `${card(1, '10.50')}${card(2, '0')}<a class=next href=/2>next</a>`,
      '/2': card(3, '7'),
      ...Object.fromEntries([1, 2, 3].map((n) => [`/p/${n}`, `<p class=description>About ${n}</p>`])),
      ...Object.fromEntries(
        [1, 2, 3].map((n) => [`/api/offers/S${n}.json`, JSON.stringify([{ price: n + 1 }, { price: n }])]),
      ),
    }));
    const { items } = await crawl({ spider: load('gather.js', { 'shop.example': site }), startUrls: [`${site.url}/`] });
    assert.deepEqual(data(items).sort(by('sku')), [
      { sku: 'S1', title: 'Lamp 1', price: 10.5, description: 'About 1', cheapest: 1 },
      { sku: 'S3', title: 'Lamp 3', price: 7, description: 'About 3', cheapest: 3 },
    ]);
  });

  it('incremental.json: a second crawl brings what is new alone', async () => {
    const job = (id: number) =>
      `<div class=job data-id=${id}><h2>Job ${id}</h2><time datetime=2026-11-0${id}></time></div>`;
    let jobs = job(1) + job(2);
    const site = await serve(() => ({
      '/': (_req, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(jobs),
    }));
    await put('jobs', load('incremental.json', { 'jobs.example': site }));
    const first = await crawl({ spider: 'jobs' });
    jobs += job(3);
    const second = await crawl({ spider: 'jobs' });
    assert.deepEqual(first.items.map((item) => item.data.id).sort(), ['1', '2']);
    assert.deepEqual(data(second.items), [{ id: '3', title: 'Job 3', city: 'remote', posted: '2026-11-03' }]);
  });

  it('broad.json: many sites, a few levels of each, the default item', async () => {
    const pages = (): Pages => ({
      '/': '<title>Home</title><main><h1>Home</h1><a href=/1>1</a> <a href=/login>in</a> <a href=/x.pdf>pdf</a></main>',
      '/1': '<title>One</title><a href=/2>2</a>',
      '/2': '<title>Two</title><a href=/3>3</a>',
      '/3': '<title>Three</title>',
    });
    const one = await serve(pages);
    const two = await serve(pages, '127.0.0.2');
    const { items, urls } = await crawl({
      spider: load('broad.json', {}),
      startUrls: [`${one.url}/`, `${two.url}/`],
      settings: { delayMs: 10 },
    });
    assert.equal(urls.length, 6, 'two levels below each start');
    assert.deepEqual(new Set(items.map((item) => item.data.title)), new Set(['Home', 'One', 'Two']));
    assert.ok(items.every((item) => typeof item.data.markdown === 'string'));
  });
});
