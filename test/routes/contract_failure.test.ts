import assert from 'node:assert/strict';
import { it } from 'node:test';
import fastify from 'fastify';
import { contractRoutes } from '../../dist/routes/contract.js';
import type { App } from '../../dist/routes/deps.js';

it('the contract is made at the first question, and again where that failed', async () => {
  let made = 0;
  const app = fastify();
  contractRoutes(app as unknown as App, async () => {
    if (++made === 1) throw new Error('not yet');
    const pages = fastify();
    pages.get('/openapi.json', async () => ({ openapi: '3.1.0' }));
    return pages;
  });
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) statuses.push((await app.inject('/openapi.json')).statusCode);
  assert.deepEqual([statuses, made], [[500, 200, 200], 2]);
  assert.equal((await app.inject('/docs/none')).statusCode, 404);
  await app.close();
});
