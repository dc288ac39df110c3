import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../dist/config.js';

test('connections are read by name', () => {
  const { connections } = readConfig({ CONNECTIONS: 'shop=postgres://a:b%2Cc@h/d, stock-2=postgresql://h/e' });
  assert.deepEqual(
    [...connections],
    [
      ['shop', 'postgres://a:b%2Cc@h/d'],
      ['stock-2', 'postgresql://h/e'],
    ],
  );
  assert.equal(readConfig({}).connections.size, 0);
});

for (const [text, message] of [
  ['postgres://u:secret@h/d', /entry 1 is not name=postgres/],
  ['a=postgres://u:secret@h/d,', /entry 2 is not/],
  ['a=postgres://u:sec,ret@h/d', /a is not a postgres/],
  ['a=oracle://u:secret@h/d', /a is not a postgres:\/\/, mysql:\/\//],
  ['a=s3://key:secret@h/', /a is not s3:/],
  ['a=mongodb://u:secret@h%2Ch2/?replicaSet=rs', /a names no database/],
  ['a=postgres://h/d,a=postgres://h/e', /a is there twice/],
  ['2a=postgres://h/d', /entry 1/],
] as const)
  test(`CONNECTIONS is refused without telling a password: ${message}`, () =>
    assert.throws(
      () => readConfig({ CONNECTIONS: text }),
      (error: Error) => message.test(error.message) && !/secret|sec,ret/.test(error.message),
    ));

test('the calls of steps have an egress policy of their own', () => {
  assert.deepEqual(readConfig({ ENRICH_EGRESS_ALLOW: '10.0.0.0/8' }).enrichEgressAllow, ['10.0.0.0/8']);
  assert.throws(() => readConfig({ ENRICH_EGRESS_ALLOW: 'localhost' }), /ENRICH_EGRESS_ALLOW has "localhost"/);
});

test('proxies are read by name, and refused without telling a password', () => {
  const { proxies } = readConfig({ PROXIES: 'office=http://u:p%2Cq@10.0.0.5:3128, plain=http://proxy.internal' });
  assert.deepEqual([...proxies.keys()], ['office', 'plain']);
  for (const [text, message] of [
    ['http://u:secret@h:1', /entry 1 is not name=http/],
    ['a=socks5://u:secret@h:1', /a is not http:/],
    ['a=https://u:secret@h:1', /a is not http:/],
    ['a=http://u:secret@h:1/path', /a is not http:/],
    ['a=http://h:1,a=http://h:2', /a is there twice/],
  ] as const)
    assert.throws(
      () => readConfig({ PROXIES: text }),
      (error: Error) => message.test(error.message) && !/secret/.test(error.message),
    );
});

test('RETENTION is read as seconds, for both or each', () => {
  const DAY = 86_400;
  for (const [text, items, ledger] of [
    ['', null, null],
    ['30d', 30 * DAY, 30 * DAY],
    ['items=12w, ledger = 36h', 84 * DAY, 1.5 * DAY],
    ['ledger=90m', null, 5400],
    ['30d,ledger=45s', 30 * DAY, 45],
  ] as const)
    assert.deepEqual(readConfig({ RETENTION: text }).retention, { items, ledger });
  for (const text of ['30', 'd', 'pages=3d', 'items=3y', '-1d', '3d,'])
    assert.throws(() => readConfig({ RETENTION: text }), /RETENTION has ".*"; expected 30d, or items=90d,ledger=7d/);
  assert.throws(
    () => readConfig({ RETENTION: '1d,ledger=999999w' }),
    /RETENTION has "ledger=999999w"; expected at most 5200w/,
  );
});
