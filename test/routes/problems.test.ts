import assert from 'node:assert/strict';
import { test } from 'node:test';
import Fastify from 'fastify';
import { pino } from 'pino';
import { ApiError } from '../../dist/errors.js';
import { sendProblem } from '../../dist/routes/problems.js';

test('a fault is logged with its stack; who is only sent away leaves no line', async () => {
  const lines: { level: number; err?: { type: string } }[] = [];
  const loggerInstance = pino(
    { level: 'warn' },
    { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) },
  );
  const app = Fastify({ loggerInstance });
  app.setErrorHandler((error: Error, request, reply) => sendProblem(error, request, reply));
  const errors: Record<string, Error> = {
    busy: new ApiError('too_busy', 'four are under way'),
    away: new ApiError('database_unavailable'),
    bug: new TypeError('x is undefined'),
  };
  app.get('/:which', async (request) => {
    throw errors[(request.params as { which: string }).which];
  });

  const busy = await app.inject('/busy');
  assert.deepEqual(
    [busy.statusCode, busy.headers['retry-after'], busy.json().detail],
    [503, '1', 'four are under way'],
  );
  assert.equal(lines.length, 0);
  assert.equal((await app.inject('/away')).statusCode, 503);
  assert.equal((await app.inject('/bug')).statusCode, 500);
  assert.deepEqual(
    lines.map(({ level, err }) => [level, err?.type]),
    [
      [40, 'ApiError'],
      [50, 'TypeError'],
    ],
  );
  await app.close();
});
