/** The Python client; where there is no Python 3.11 or no mypy this is skipped, but not in CI. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pythonClient } from '../../clients/python/generate.ts';
import { startSite } from '../support/site.ts';

const run = promisify(execFile);
const FOLDER = fileURLToPath(new URL('../../clients/python/', import.meta.url));
const ENV = { ...process.env, PYTHONPATH: FOLDER, MYPYPATH: FOLDER, PYTHONDONTWRITEBYTECODE: '1' };

let scratch: string;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'orbweaver-python-'));
});
after(() => rm(scratch, { recursive: true }));

async function works(program: string, ...args: string[]): Promise<boolean> {
  return run(program, args).then(
    () => true,
    () => false,
  );
}

const hasPython = await works('python3', '-c', 'import sys; sys.exit(sys.version_info < (3, 11))');
const hasMypy = await works('mypy', '--version');
const isLacking = (isThere: boolean, what: string) =>
  isThere || process.env.CI_SERVERS === '1' ? false : `${what} is not there`;

test('the Python client is that of openapi.yaml', async () => {
  const files = ['../../openapi.yaml', 'runtime.py', 'orbweaver.py'].map((file) =>
    readFile(join(FOLDER, file), 'utf8'),
  );
  const [contract, runtime, client] = await Promise.all(files);
  const isFresh = pythonClient(contract!, runtime!) === client;
  assert.ok(isFresh, 'clients/python/orbweaver.py is stale: node clients/python/generate.ts');
});

const PROGRAM = `
from typing import List
from orbweaver import Crawl, Item, Orbweaver, OrbweaverError

client = Orbweaver("http://127.0.0.1:3000", api_key="secret")
try:
    crawl: Crawl = client.post_crawls({"startUrls": ["https://books.example/"], "settings": {"maxPages": 10}})
    items: List[Item] = list(client.stream_items(crawl["id"], type="book"))
    rate: float = client.get_crawls_id_stats(crawl["id"])["pagesPerSecond"]
except OrbweaverError as error:
    print(error.code, error.problems)
`;

test(
  'the Python client and a program that uses it pass the strict type check; a wrong field does not',
  {
    skip: isLacking(hasMypy, 'mypy'),
  },
  async () => {
    const check = async (name: string, text: string) => {
      const file = join(scratch, name);
      await writeFile(file, text);
      const flags = ['--strict', '--python-version', '3.11', '--cache-dir', join(scratch, 'cache')];
      return run('mypy', [...flags, file], { env: ENV }).then(
        () => '',
        (error: { stdout: string }) => error.stdout,
      );
    };
    const readme = /```python\n(.*?)```/s.exec(await readFile(join(FOLDER, 'README.md'), 'utf8'))![1]!;
    assert.equal(await check('readme.py', readme), '');
    assert.equal(await check('right.py', PROGRAM), '');
    assert.match(await check('wrong.py', PROGRAM.replace('maxPages', 'maxPges')), /maxPges/);
  },
);

test(
  '45: the Python client reads every item once from a stream that is cut, and raises what the service says',
  {
    skip: isLacking(hasPython, 'Python 3.11'),
  },
  async () => {
    const event = (offset: number) => `event: item\nid: ${offset}\ndata: {"offset":${offset}}\n\n`;
    let asked = 0;
    const site = await startSite((req, res) => {
      if (!req.url!.includes('/items')) {
        res.writeHead(404, { 'content-type': 'application/problem+json' });
        return void res.end(JSON.stringify({ type: 'crawl_not_found', detail: 'none', status: 404 }));
      }
      const first = Number(new URL(req.url!, 'http://x').searchParams.get('after')) + 1;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(`retry: 1000\n\n${event(first)}`);
      if (asked++ === 0) res.write(event(first + 1).slice(0, -1), () => res.destroy());
      else if (first < 3) res.end(': broken off\n\n');
      else res.end('event: end\ndata: {"state":"finished","stopReason":"finished"}\n\n');
    });
    const program = `
import sys
from orbweaver import Orbweaver, OrbweaverError
client = Orbweaver(sys.argv[1])
print([item["offset"] for item in client.stream_items("x")])
try:
    client.get_crawls_id("x/y")
except OrbweaverError as error:
    print(error.code, error.status)
`;
    try {
      const { stdout } = await run('python3', ['-c', program, site.url], { env: ENV });
      assert.equal(stdout, '[0, 1, 2, 3]\ncrawl_not_found 404\n');
      assert.equal(site.hits.at(-1)!.url, '/crawls/x%2Fy');
    } finally {
      await site.close();
    }
  },
);
