import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

it('openapi.yaml is what the routes say; npm run openapi writes it anew', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [file('../dist/openapi.js')]);
  assert.match(stdout, /^openapi: 3\.1\.0\n/);
  assert.doesNotMatch(stdout, /def-\d|~kind/);
  assert.equal(await readFile(file('../openapi.yaml'), 'utf8'), stdout);
});
