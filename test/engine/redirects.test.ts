import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { checkBooks, ENDED, postCrawl, waitFor } from '../support/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { FAST, html, TITLE_SPIDER } from '../support/pages.ts';
import { type Service, startService } from '../support/service.ts';
import { type Site, startSite } from '../support/site.ts';

let database: TestDatabase;
let service: Service;
before(async () => {
  database = await testDatabase();
  // 127.0.0.2 plays an address that the egress guard refuses.
  service = await startService({ DATABASE_URL: database.url, SCRIPTS: 'on', EGRESS_ALLOW: '127.0.0.1/32' });
});
after(async () => {
  await service.stop();
  await database.drop();
});

type Handler = (req: IncomingMessage, res: ServerResponse) => void;
interface Body {
  spider?: object;
  settings?: object;
}

/** Crawls these start URLs of a site, to the end. */
async function crawl(handler: Handler, starts: (site: Site) => (string | object)[], { spider, settings }: Body = {}) {
  const site = await startSite(handler);
  try {
    const { id } = await postCrawl(service.url, {
      spider: spider ?? TITLE_SPIDER,
      startUrls: starts(site),
      settings: { ...FAST, retries: 0, ...settings },
    });
    await waitFor(service.url, id, ENDED);
    const books = await checkBooks(service.url, id);
    /** `state reason` of a path, or of a URL, without method. */
    const row = (path: string) => {
      const url = path.startsWith('/') ? site.url + path : path;
      const found = books.ledger.find((one) => one.url === url && one.method === undefined);
      return found === undefined ? 'not there' : `${found.state} ${found.reason ?? ''}`.trim();
    };
    const hits = (path: string) => site.hits.filter(({ url }) => url === path);
    return { ...books, id, site, row, hits };
  } finally {
    await site.close();
  }
}

/** Answers by path; a list is a redirect's status and headers, a text a page. */
function table(answers: Record<string, [number, Record<string, string | string[]>] | string>): Handler {
  return (req, res) => {
    const answer = answers[req.url ?? ''];
    if (typeof answer === 'string') res.writeHead(200, { 'content-type': 'text/html' }).end(answer);
    else if (answer === undefined) html(res, `page ${req.url}`, []);
    else res.writeHead(...answer).end();
  };
}

test('7: 301, 302, 303, 307 and 308 keep or change the method and the body as the Fetch standard says', async () => {
  const EXPECTED: Record<string, string[]> = {
    301: ['GET', 'HEAD', 'GET', 'PUT', 'DELETE'],
    302: ['GET', 'HEAD', 'GET', 'PUT', 'DELETE'],
    303: ['GET', 'HEAD', 'GET', 'GET', 'GET'],
    307: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    308: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
  };
  const cases = Object.keys(EXPECTED).flatMap((status) =>
    ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].map((method, i) => ({ status, method, sent: EXPECTED[status]![i]! })),
  );
  const bodies = new Map<string, string>();
  const { site } = await crawl(
    async (req, res) => {
      let body = '';
      for await (const chunk of req) body += chunk;
      bodies.set(req.url!, body);
      const [, status, name] = /^\/from\/(\d+)-(\w+)$/.exec(req.url!) ?? [];
      if (status === undefined) html(res, 'page', []);
      else res.writeHead(Number(status), { location: `/to/${status}-${name}` }).end();
    },
    ({ url }) =>
      cases.map(({ status, method }) => ({
        url: `${url}/from/${status}-${method}`,
        method,
        headers: { 'x-own': '1', ...(method.startsWith('P') ? { 'content-type': 'text/plain' } : {}) },
        ...(method.startsWith('P') ? { body: 'b' } : {}),
      })),
  );
  for (const { status, method, sent } of cases) {
    const path = `/to/${status}-${method}`;
    const [hit, ...more] = site.hits.filter(({ url }) => url === path);
    const keeps = sent === 'POST' || sent === 'PUT';
    assert.deepEqual(
      [hit?.method, bodies.get(path), hit?.headers['content-type'], hit?.headers['x-own'], more.length],
      [sent, keeps ? 'b' : '', keeps ? 'text/plain' : undefined, '1', 0],
      `${status} ${method}`,
    );
  }
});

test('7: own headers are dropped where the origin changes, Authorization and Cookie among them', async () => {
  const other = await startSite((_req, res) => html(res, 'other', []));
  const headers = { authorization: 'Basic eA==', cookie: 'own=1', 'x-own': '1' };
  try {
    const { hits } = await crawl(
      table({ '/away': [307, { location: `${other.url}/there` }], '/near': [307, { location: '/here' }] }),
      ({ url }) => ['/away', '/near'].map((path) => ({ url: url + path, method: 'POST', body: 'b', headers })),
    );
    const sent = ({ headers: all }: { headers: Record<string, unknown> }) => [
      all.authorization,
      all.cookie,
      all['x-own'],
    ];
    assert.deepEqual(sent(hits('/here')[0]!), ['Basic eA==', 'own=1', '1']);
    assert.deepEqual(other.hits.map(sent), [[undefined, undefined, undefined]]);
  } finally {
    await other.close();
  }
});

test('7: relative, non-ASCII and fragment targets resolve as in browsers; what leads nowhere ends with a reason', async () => {
  const latin1 = (text: string) => Buffer.from(text).toString('latin1');
  const TARGETS: Record<string, [string, string]> = {
    '/a/relative': ['../x/./y', '/x/y'],
    '/a/query': ['?q=1', '/a/query?q=1'],
    '/scheme': ['//HOST/z', '/z'],
    '/blank': [' /spaces%20in ', '/spaces%20in'],
    '/utf8': [latin1('/grün?q=日'), '/gr%C3%BCn?q=%E6%97%A5'],
    '/latin1': ['/gr\u00fcn', '/gr%FCn'],
    '/fragment': ['/f#part', '/f'],
    '/user': ['http://ann:secret@HOST/u', '/u'],
  };
  const { row, hits, ledger } = await crawl(
    (req, res) => {
      const [location] = TARGETS[req.url!] ?? [];
      if (location === undefined)
        table({
          '/none': [302, {}],
          '/several': [302, { location: ['/one', '/two'] }],
          '/twice': [302, { location: ['/one', '/one'] }],
          '/ftp': [302, { location: 'ftp://files.test/' }],
          '/no-url': [302, { location: 'http://' }],
          '/off': [302, { location: 'http://elsewhere.test/' }],
        })(req, res);
      else res.writeHead(302, { location: location.replace('HOST', req.headers.host!) }).end();
    },
    ({ url }) =>
      [...Object.keys(TARGETS), '/none', '/several', '/twice', '/ftp', '/no-url', '/off'].map((path) => url + path),
  );
  for (const [path, [, target]] of Object.entries(TARGETS))
    assert.deepEqual([row(path), row(target), hits(target).length], ['skipped redirected', 'done', 1], path);
  const rows = [
    '/none',
    '/several',
    '/twice',
    '/one',
    '/ftp',
    'ftp://files.test/',
    '/no-url',
    '/off',
    'http://elsewhere.test/',
  ];
  assert.deepEqual(rows.map(row), [
    'failed bad_response',
    'failed bad_response',
    'skipped redirected',
    'done',
    'skipped redirected',
    'skipped scheme',
    'skipped bad_url',
    'skipped redirected',
    'skipped offsite',
  ]);
  const detail = (path: string) => ledger.find(({ url }) => url.endsWith(path))?.detail;
  assert.deepEqual(
    [detail('/none'), detail('/several')],
    ['status 302 without a Location', 'status 302 with several Locations'],
  );
});

test('7: a loop and the limit end with a reason; two redirects to one page fetch it once', async () => {
  const chain = Object.fromEntries(
    [...Array(9).keys()].map((i) => [`/c${i}`, [301, { location: `/c${i + 1}` }]] as const),
  );
  const { row, hits, ledger } = await crawl(
    table({
      ...Object.fromEntries(Object.entries(chain).map(([path, [status, headers]]) => [path, [status, { ...headers }]])),
      '/loop1': [302, { location: '/loop2' }],
      '/loop2': [302, { location: '/loop1' }],
      '/self': [302, { location: '/self' }],
      '/one': [302, { location: '/page' }],
      '/two': [302, { location: '/page' }],
    }),
    ({ url }) => ['/c0', '/loop1', '/self', '/one', '/two'].map((path) => url + path),
    { settings: { maxRedirects: 4 } },
  );
  assert.deepEqual(['/c3', '/c4', '/c5'].map(row), ['skipped redirected', 'failed too_many_redirects', 'not there']);
  assert.match(ledger.find(({ url }) => url.endsWith('/c4'))!.detail!, /^after 4 redirects, to \/c5/);
  assert.deepEqual(['/loop1', '/loop2', '/self'].map(row), [
    'skipped redirected',
    'skipped redirect_duplicate',
    'skipped redirect_duplicate',
  ]);
  for (const path of ['/loop1', '/loop2', '/self', '/page']) assert.equal(hits(path).length, 1, path);
  assert.deepEqual(['/one', '/two'].map(row).sort(), ['skipped redirect_duplicate', 'skipped redirected']);
});

test('7: each hop passes scope, robots and the egress guard', async () => {
  const refused = await startSite((_req, res) => html(res, 'inside', []), { host: '127.0.0.2' });
  try {
    const { row, hits } = await crawl(
      table({
        '/robots.txt': 'User-agent: *\nDisallow: /private',
        '/a': [302, { location: '/private/page' }],
        '/b': [302, { location: `${refused.url}/` }],
        '/c': [302, { location: '/denied/page' }],
      }),
      ({ url }) => ['/a', '/b', '/c'].map((path) => url + path),
      { spider: { ...TITLE_SPIDER, scope: { redirects: 'any', deny: ['/denied/*'] } }, settings: { robots: true } },
    );
    assert.deepEqual(['/private/page', `${refused.url}/`, '/denied/page'].map(row), [
      'skipped robots',
      'skipped egress',
      'skipped denied',
    ]);
    assert.equal(hits('/private/page').length + hits('/denied/page').length + refused.hits.length, 0);
  } finally {
    await refused.close();
  }
});

test('7: a site that sets a cookie and redirects back is read with it, and only as often as maxRedirects', async () => {
  let n = 0;
  const has = (req: IncomingMessage, name: string) => req.headers.cookie?.includes(`${name}=`) === true;
  const to = (res: ServerResponse, location: string, cookie?: string) =>
    res.writeHead(302, { location, ...(cookie === undefined ? {} : { 'set-cookie': cookie }) }).end();
  const { row, hits } = await crawl(
    (req, res) => {
      const path = req.url!;
      if (path === '/self') has(req, 's') ? html(res, 'self', []) : to(res, '/self', 's=1; Path=/self');
      else if (path === '/gate') has(req, 'g') ? html(res, 'gate', []) : to(res, '/gate/set');
      else if (path === '/gate/set') to(res, '/gate', 'g=1; Path=/gate');
      else if (path === '/check') has(req, 'seen') ? html(res, 'check', []) : to(res, '/check/two', 'c=1; Path=/check');
      else if (path === '/check/two') to(res, '/check', has(req, 'c') ? 'seen=1; Path=/check' : undefined);
      else if (path === '/ever') to(res, '/ever', `e=${++n}; Path=/ever`);
      else if (path === '/wall') to(res, '/wall/two', 'w=1; Path=/wall');
      else if (path === '/wall/two') to(res, '/wall');
    },
    ({ url }) => ['/self', '/gate', '/check', '/ever', '/wall'].map((path) => url + path),
    { settings: { maxRedirects: 5 } },
  );
  const paths = ['/self', '/gate', '/gate/set', '/check', '/check/two', '/ever', '/wall'];
  assert.deepEqual(paths.map(row), [
    'done',
    'done',
    'skipped redirected',
    'done',
    'skipped redirected',
    'failed too_many_redirects',
    'skipped redirect_duplicate',
  ]);
  assert.deepEqual(
    paths.map((path) => hits(path).length),
    [2, 2, 1, 2, 1, 6, 2],
  );
});

test('7, 21: a site that insists on a way of writing a URL is asked so, once; where it cannot be pleased it ends', async () => {
  let n = 0;
  const wanted: Record<string, string> = {
    '/order?a=1&b=2': '/order?b=2&a=1',
    '/tracked': '/tracked?utm_source=redirect',
    '/tilde/~me': '/tilde/%7Eme',
    '/flip?a=1&b=2': '/flip?b=2&a=1',
    '/flip?b=2&a=1': '/flip?a=1&b=2',
  };
  const paths = ['/order?a=1&b=2', '/tracked', '/tilde/~me', '/flip?a=1&b=2', '/ever'];
  const { row, items, hits } = await crawl(
    (req, res) => {
      const to = req.url!.startsWith('/ever') ? `/ever?utm_source=${++n}` : wanted[req.url!];
      if (to === undefined) html(res, req.url!, []);
      else res.writeHead(301, { location: to }).end();
    },
    ({ url }) => paths.map((path) => url + path),
    { settings: { maxRedirects: 5 } },
  );
  assert.deepEqual(paths.map(row), ['done', 'done', 'done', 'failed too_many_redirects', 'failed too_many_redirects']);
  assert.deepEqual(items.map(({ data }) => data.title).sort(), [
    '/order?b=2&a=1',
    '/tilde/%7Eme',
    '/tracked?utm_source=redirect',
  ]);
  assert.equal(hits('/order?a=1&b=2').length, 1);
});

const REFRESHING: Record<string, string> = {
  '/': ['/meta', '/late', '/itself', '/noscript', '/template', '/header', '/based', '/empty', '/mail', '/loop']
    .map((href) => `<a href="${href}">x</a>`)
    .join(''),
  '/meta': '<meta http-equiv="Refresh" content="0; URL=\'/meta2\'"><h1>meta</h1><a href="/not">x</a>',
  '/late': '<meta http-equiv="refresh" content="11; url=/not">',
  '/itself': '<meta http-equiv="refresh" content="5; url=/itself#again">',
  '/noscript': '<noscript><meta http-equiv="refresh" content="0; url=/not"></noscript>',
  '/template': '<template><meta http-equiv="refresh" content="0; url=/not"></template>',
  '/based': '<base target="_top"><base href="/deep/"><base href="/other/"><meta http-equiv="refresh" content="1;two">',
  '/empty': '<meta http-equiv="refresh" content="">',
  '/mail': '<meta http-equiv="refresh" content="0; url=mailto:a@b.test">',
  '/loop': '<meta http-equiv="refresh" content="0; url=/loop2">',
  '/loop2': '<meta http-equiv="refresh" content="0; url=/loop">',
};
const refreshing: Handler = (req, res) => {
  const page = REFRESHING[req.url!];
  const headers = { 'content-type': 'text/html', ...(req.url === '/header' ? { refresh: '3;url=/header2' } : {}) };
  res.writeHead(200, headers).end(`<h1>${req.url}</h1>${page ?? ''}`);
};
const SCRIPT = `export default { async *parse(response, ctx) {
  yield { title: response.css('h1').text() };
  for (const href of response.css('a').attrs('href')) yield ctx.follow(href);
} }`;

for (const [kind, spider] of [
  ['a declarative spider', TITLE_SPIDER],
  ['a script', { name: 'script', script: SCRIPT }],
] as const)
  test(`8: a page that refreshes to another is a redirect, for ${kind}`, async () => {
    const { row, items, ledger } = await crawl(refreshing, ({ url }) => [`${url}/`], { spider });
    const paths = ['/meta', '/meta2', '/header', '/header2', '/based', '/deep/two', '/loop', '/loop2', '/not'];
    assert.deepEqual(paths.map(row), [
      'skipped redirected',
      'done',
      'skipped redirected',
      'done',
      'skipped redirected',
      'done',
      'skipped redirected',
      'skipped redirect_duplicate',
      'not there',
    ]);
    for (const path of ['/late', '/itself', '/noscript', '/template', '/empty', '/mail'])
      assert.equal(row(path), 'done', path);
    assert.equal(items.length, 10, 'the start, three targets, six pages of their own');
    assert.match(ledger.find(({ url }) => url.endsWith('/meta'))!.detail!, /\/meta2$/);
  });

test('8: refreshes are followed where the settings say so: none, none that leads over the limit', async () => {
  const start = ({ url }: Site) => [`${url}/meta`];
  const off = await crawl(refreshing, start, { settings: { maxMetaRefreshSeconds: null } });
  assert.deepEqual([off.row('/meta'), off.row('/not')], ['done', 'done']);
  const limit = await crawl(refreshing, start, { settings: { maxRedirects: 0 } });
  assert.deepEqual([limit.row('/meta'), limit.row('/meta2')], ['failed too_many_redirects', 'not there']);
});

test('8: rel, meta robots and X-Robots-Tag say which links are not followed, unless the crawl does not honour them', async () => {
  const TAGS: Record<string, string | string[]> = {
    '/tag': ['noindex', 'otherbot: none', 'Orbweaver: nofollow'],
    '/date': 'unavailable_after: Saturday, 25-Jun-2040 15:00:00 PST, max-snippet: -1, otherbot: nofollow',
  };
  const PAGES: Record<string, string> = {
    '/': '<a href="/tag">1</a><a href="/date">2</a><a href="/named">3</a><a rel="noopener NoFollow" href="/rel">4</a><a rel="ugc sponsored" href="/ugc">5</a>',
    '/tag': '<a href="/by-tag">x</a>',
    '/date': '<a href="/not-by-date">x</a>',
    '/named':
      '<meta name="googlebot" content="nofollow"><meta name="ORBWEAVER" content="index, None"><a href="/by-name">x</a>',
  };
  const handler: Handler = (req, res) => {
    const tag = TAGS[req.url!];
    res.writeHead(200, { 'content-type': 'text/html', ...(tag === undefined ? {} : { 'x-robots-tag': tag }) });
    res.end(PAGES[req.url!] ?? '');
  };
  const paths = ['/rel', '/ugc', '/by-tag', '/not-by-date', '/by-name'];
  const honoured = await crawl(handler, ({ url }) => [`${url}/`]);
  assert.deepEqual(paths.map(honoured.row), ['skipped denied', 'done', 'skipped denied', 'done', 'skipped denied']);
  assert.ok(honoured.ledger.every(({ reason, detail }) => reason === null || detail === 'nofollow'));
  const ignored = await crawl(handler, ({ url }) => [`${url}/`], { settings: { nofollow: false } });
  assert.deepEqual(paths.map(ignored.row), ['done', 'done', 'done', 'done', 'done']);
});

test('8: a preview follows a refresh, and says of a given page that a crawl would', async () => {
  const site = await startSite(refreshing);
  try {
    const preview = async (body: object) => {
      const response = await fetch(`${service.url}/spiders/preview`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ spider: TITLE_SPIDER, settings: FAST, ...body }),
      });
      return (await response.json()) as {
        url: string;
        redirects: object[];
        outcome: object;
        items: { data: object }[];
      };
    };
    const fetched = await preview({ url: `${site.url}/meta` });
    assert.deepEqual([fetched.url, fetched.items[0]?.data], [`${site.url}/meta2`, { title: '/meta2' }]);
    assert.deepEqual(fetched.redirects, [{ url: `${site.url}/meta`, status: 200, to: `${site.url}/meta2` }]);
    const given = await preview({ url: `${site.url}/meta`, html: REFRESHING['/meta'] });
    assert.deepEqual(given.outcome, { state: 'skipped', reason: 'redirected', detail: `${site.url}/meta2` });
  } finally {
    await site.close();
  }
});
