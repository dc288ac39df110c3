import type { Sql } from '../db/client.ts';
import { Deletions } from './deletions.ts';
import type { Checks } from './lifecycle.ts';
import type { reporter } from './loop.ts';
import { Retention } from './retention.ts';
import { ScheduleTicks } from './schedule_ticks.ts';

interface ChoresOptions {
  sql: Sql;
  checks: Checks;
  /** RETENTION: seconds; null: for ever. */
  kept: { items: number | null; ledger: number | null };
  onCrawlChanged: (crawlId: string, what: string) => void;
  log: Parameters<typeof reporter>[0] & { info: (detail: object, message: string) => void };
}

/** What every node does besides crawling, whatever its role is: schedules, and the deletion of what is to go. */
export class Chores {
  readonly deletions: Deletions;
  readonly #schedules: ScheduleTicks;
  readonly #retention: Retention;

  constructor({ sql, checks, kept, onCrawlChanged, log }: ChoresOptions) {
    this.deletions = new Deletions({ sql, log });
    this.#retention = new Retention({ sql, kept, onDeleted: () => this.deletions.wake(), log });
    this.#schedules = new ScheduleTicks({ sql, checks, onCrawlChanged, log });
  }

  start(): void {
    this.deletions.start();
    this.#retention.start();
    this.#schedules.start();
  }

  /** A schedule is new or changed. */
  onScheduled(): void {
    this.#schedules.wake();
  }

  /** Safe before `start` and twice. */
  async stop(): Promise<void> {
    await Promise.all([this.#schedules.stop(), this.#retention.stop(), this.deletions.stop()]);
  }
}
