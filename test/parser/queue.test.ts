import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FairQueues, type Job, JobQueue } from '../../dist/parser/queue.js';

function job(queue: JobQueue): Job {
  const message = { kind: 'check', spider: {} } as const;
  return {
    message,
    queue,
    bytes: 1,
    limitMs: 1,
    charged: 0,
    burns: false,
    resolve: () => {},
    reject: () => {},
  };
}

/** Serves one thread `rounds` times; each job of a queue costs what `cost` says. */
function serve(fair: FairQueues, rounds: number, cost: (queue: JobQueue) => number): Record<string, number> {
  const served: Record<string, number> = {};
  for (let i = 0; i < rounds; i++) {
    const queue = fair.next(1, () => true)!;
    const one = queue.take();
    queue.settle(one, cost(queue));
    served[queue.name] = (served[queue.name] ?? 0) + 1;
  }
  return served;
}

describe('the fair queues', () => {
  it('share the CPU by time, not by pages', () => {
    const fair = new FairQueues();
    const queues = { quick: new JobQueue('quick'), slow: new JobQueue('slow') };
    for (let i = 0; i < 2000; i++) for (const queue of Object.values(queues)) fair.push(job(queue));
    const served = serve(fair, 1010, ({ name }) => (name === 'slow' ? 100 : 1));
    assert.ok(served.quick! > 950 && served.slow! >= 9, JSON.stringify(served));
  });
  it('give a crawl that was idle no credit', () => {
    const fair = new FairQueues();
    const [busy, idle] = [new JobQueue('busy'), new JobQueue('idle')];
    for (let i = 0; i < 300; i++) fair.push(job(busy));
    serve(fair, 100, () => 10);
    for (let i = 0; i < 300; i++) fair.push(job(idle));
    const served = serve(fair, 100, () => 10);
    assert.ok(served.idle! >= 45 && served.idle! <= 55, JSON.stringify(served));
  });
  it('keep one thread from a slow or new crawl while others are there', () => {
    const fair = new FairQueues();
    const [slow, other] = [new JobQueue('slow'), new JobQueue('other')];
    for (let i = 0; i < 4; i++) fair.push(job(slow));
    slow.take();
    assert.equal(
      fair.next(2, () => true),
      slow,
      'alone it may have every thread',
    );
    fair.push(job(other));
    other.take();
    assert.equal(
      fair.next(2, () => true),
      null,
    );
    slow.settle(slow.take(), 500);
    assert.equal(fair.slowWaits(3), true);
    assert.equal(fair.slowWaits(2), false, 'it has the one that it may have');
  });
  it('put jobs back at the front', () => {
    const queue = new JobQueue('q');
    const jobs = [job(queue), job(queue), job(queue)];
    for (const one of jobs) queue.push(one);
    const [a, b] = [queue.take(), queue.take()];
    queue.giveBack(b);
    queue.giveBack(a);
    assert.deepEqual(
      [queue.take(), queue.take(), queue.take()].map((one) => jobs.indexOf(one)),
      [0, 1, 2],
    );
    assert.equal(queue.waiting, 0);
  });
  it('count a burning crawl as slow until its page is done', () => {
    const queue = new JobQueue('q');
    queue.push(job(queue));
    queue.settle(queue.take(), 1);
    assert.ok(queue.isQuick);
    queue.push(job(queue));
    const one = queue.take();
    queue.burn(one);
    assert.ok(queue.isSlow && !queue.isQuick);
    queue.settle(one, 1);
    assert.ok(queue.isQuick);
  });
});
