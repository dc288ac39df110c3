/** The examples of docs/delivery.md are what the service takes, and its receiver of webhooks is one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { Compile } from 'typebox/compile';
import { timingProblems } from '../dist/engine/cron.js';
import { planExports } from '../dist/engine/export_input.js';
import { type StartCrawl, StartCrawlSchema } from '../dist/model/crawl.js';
import { type NewSchedule, NewScheduleSchema } from '../dist/model/schedule.js';
import { freePort } from './support/free_port.ts';

const text = readFileSync(new URL('../docs/delivery.md', import.meta.url), 'utf8');
const blocks = (fence: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${fence}\n(.*?)^\`\`\`$`, 'gms'))].map(([, one]) => one!);
const CONNECTIONS = new Map([
  ['warehouse', 'postgres'],
  ['queue', 'redis'],
  ['lake', 's3'],
] as const);

test('docs/delivery.md: its crawls are taken', () => {
  const examples = ['export', 'webhook', 'keepFor'].flatMap((word) => blocks(`json ${word}`));
  assert.equal(examples.length, 3);
  for (const example of examples) {
    const body = JSON.parse(example) as StartCrawl;
    assert.deepEqual(Compile(StartCrawlSchema).Errors(body), []);
    assert.deepEqual(planExports(body, CONNECTIONS).problems, []);
  }
});

test('docs/delivery.md: its schedule is taken', () => {
  const [example] = blocks('json schedule');
  const body = JSON.parse(example!) as NewSchedule;
  assert.deepEqual(Compile(NewScheduleSchema).Errors(body), []);
  assert.deepEqual(timingProblems(body, new Date()), []);
});

test('docs/delivery.md: its receiver takes what is signed, once', async () => {
  const port = await freePort();
  const file = new URL(`receiver_${randomBytes(4).toString('hex')}.mjs`, import.meta.url);
  await writeFile(file, blocks('js receiver')[0]!.replace('8080', `${port}, '127.0.0.1'`));
  const secret = `whsec_${randomBytes(24).toString('base64')}`;
  const child = spawn(process.execPath, [file.pathname], {
    env: { ...process.env, WEBHOOK_SECRET: secret },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  try {
    const body = JSON.stringify({ type: 'items.created', data: { items: [{ offset: 7, data: { title: 'Emma' } }] } });
    const at = new Date();
    const headers = {
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign('msg_1', at, body),
    };
    const post = (of: string) => fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body: of });
    assert.equal((await patiently(() => post(body))).status, 204);
    assert.equal((await post(body)).status, 204);
    assert.equal((await post(`${body} `)).status, 400);
    child.kill();
    await once(child, 'close');
    assert.equal(output, "7 { title: 'Emma' }\n");
  } finally {
    child.kill('SIGKILL');
    await rm(file);
  }
});

/** Until it listens. */
async function patiently(work: () => Promise<Response>): Promise<Response> {
  for (let tries = 0; ; tries++)
    try {
      return await work();
    } catch (error) {
      if (tries > 1200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
}
