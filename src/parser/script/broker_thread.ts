import { parentPort, workerData } from 'node:worker_threads';
import { KnownFingerprints } from '../../model/known.ts';
import { Broker } from './broker.ts';
import type { Answer, BrokerData, FromBroker, Question, ToBroker } from './broker_messages.ts';

// The entry of the broker's thread: what comes from script processes is read, judged and cleaned here, so that none of it
// costs the event loop. It lives as long as the node: bubblewrap ends a process with the thread that started it.

const { launch, processes, known, counts } = workerData as BrokerData;
const totals = new Int32Array(counts);
/** Calls that the engine has not answered. */
const calls = new Map<number, (answer: Answer) => void>();
let numbers = 0;

const broker = new Broker({
  launch,
  processes,
  known: new KnownFingerprints(known),
  reply,
  ask,
  log: (message, detail) => reply({ kind: 'log', message, detail }),
  count: (busy, kills) => {
    Atomics.store(totals, 0, busy);
    Atomics.store(totals, 1, kills);
  },
});
parentPort!.on('message', (message: ToBroker) => void handle(message));

async function handle(message: ToBroker): Promise<void> {
  switch (message.kind) {
    case 'open':
      return broker.openCrawl(message.plan);
    case 'close':
      return broker.closeCrawl(message.crawlId);
    case 'page':
      return broker.page(message.id, message.job);
    case 'preview':
      return broker.preview(message.id, message.plan, message.job, message.owner);
    case 'describe':
      return broker.describe(message.id, message.script);
    case 'answer':
      return calls.get(message.call)?.(message.answer);
    case 'stop':
      await broker.stop();
      reply({ kind: 'ended' });
      parentPort!.close();
  }
}

/** Asks the engine; a call whose page has ended is given up. */
function ask(owner: string, question: Question, signal: AbortSignal): Promise<Answer> {
  const call = ++numbers;
  return new Promise((resolve) => {
    const give = (answer: Answer): void => {
      calls.delete(call);
      signal.removeEventListener('abort', abort);
      resolve(answer);
    };
    const abort = (): void => {
      reply({ kind: 'abort', call });
      give({ ok: false, code: 'aborted', message: 'the page has ended' });
    };
    calls.set(call, give);
    signal.addEventListener('abort', abort, { once: true });
    reply({ kind: 'call', call, owner, question });
  });
}

function reply(message: FromBroker): void {
  parentPort!.postMessage(message);
}
