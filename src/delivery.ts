import { parentPort, workerData } from 'node:worker_threads';
import { openPool } from './db/client.ts';
import { Downloader } from './downloader/downloader.ts';
import { EgressGuard } from './downloader/egress.ts';
import { senderOf } from './downloader/sender.ts';
import type { DeliveryData, FromDelivery, ToDelivery } from './exports/protocol.ts';
import { Runner } from './exports/runner.ts';
import { makeTarget } from './exports/targets.ts';

// The entry of the thread in which a node's exports and webhooks run: what users give (items of a megabyte, tables of a
// thousand columns, endpoints that answer anything) is compressed, mapped and read here, and not on the event loop.

const { databaseUrl, nodeId, dataDir, connections, webhookEgressAllow } = workerData as DeliveryData;
const TOTALS_MS = 1000;

const sql = openPool(databaseUrl, 4, 'orbweaver exports');
const downloader = new Downloader({ egress: new EgressGuard({ allow: [...webhookEgressAllow] }) });
const parts = { sql, dataDir, connections, send: senderOf(downloader) };
const runner = new Runner({
  sql,
  nodeId,
  makeTarget: (row) => makeTarget(row, parts),
  onWatch: (crawlIds) => reply({ kind: 'watch', crawlIds }),
  onIdle: () => reply({ kind: 'idle' }),
  warn: (detail, message) => reply({ kind: 'log', detail: plain(detail), message }),
});
let told = '';
let isStopping = false;
const totals = setInterval(tellTotals, TOTALS_MS);
parentPort!.on('message', receive);
runner.start();

function receive(message: ToDelivery): void {
  switch (message.kind) {
    case 'look':
      runner.look();
      return;
    case 'news':
      runner.tell(message.crawlIds);
      return;
    case 'stop':
      if (!isStopping) void stop(message.graceMs);
      return;
  }
}

async function stop(graceMs: number): Promise<void> {
  isStopping = true;
  clearInterval(totals);
  await runner.stop(graceMs);
  tellTotals();
  await Promise.all([downloader.close(), sql.end({ timeout: 2 })]);
  process.exit(0); // of this thread alone
}

/** When they have changed. */
function tellTotals(): void {
  const text = JSON.stringify(runner.totals);
  if (text !== told) reply({ kind: 'totals', totals: runner.totals });
  told = text;
}

function reply(message: FromDelivery): void {
  parentPort!.postMessage(message);
}

/** An error's own fields would not all pass to the other thread. */
function plain(detail: object): object {
  return Object.fromEntries(
    Object.entries(detail).map(([name, value]) => {
      if (!(value instanceof Error)) return [name, value];
      const { message, stack, code } = value as NodeJS.ErrnoException;
      return [name, { type: value.name, message, stack, code }];
    }),
  );
}
