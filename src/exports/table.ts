import type { TableTarget } from '../model/export.ts';
import type { Problem } from '../model/spider.ts';
import {
  type Column,
  columnsOf,
  keyOf,
  missingTable,
  rowReader,
  type TableInfo,
  tableProblems,
  Unfit,
} from './columns.ts';
import { addRejected, positionOf, type Rejected } from './rejected.ts';
import { type Batch, type Cursor, ExportError, type ExportJob, type Target } from './target.ts';
import { within } from './within.ts';

/** An item as a row: the texts of its columns. */
export interface Row {
  offset: number;
  values: (string | null)[];
}

/** Where rows go. */
export interface Destination {
  columns: readonly Column[];
  info: TableInfo;
  /** Empty: each row is one of its own. */
  key: readonly string[];
}

/** The cursor as the target's own database has it. */
export interface TableCursor {
  next: number;
  rejected: Rejected;
}

/** One transaction of a database that tables are in. */
export interface TableSession {
  /** Makes `orbweaver_cursors` where it is not there. */
  prepare(): Promise<void>;
  /**
   * Absent: it comes to light when a table is made.
   *
   * @param isNew the table itself has to be made, besides the one of cursors
   * @throws ExportError where a table has to be made and cannot be
   */
  checkRights?(isNew: boolean): Promise<unknown>;
  /** Null: there is no such table. */
  describe(): Promise<TableInfo | null>;
  /** Makes the table, and puts every cursor of it back to the start: what was in it is gone. */
  create(): Promise<void>;
  /** At the start, where there is none. */
  makeCursor(job: ExportJob): Promise<void>;
  /** Locks the cursor of a job until the end of the transaction. Null: there is none. */
  cursor(job: ExportJob): Promise<TableCursor | null>;
  setCursor(job: ExportJob, cursor: TableCursor): Promise<void>;
  /** Writes all rows in one statement or none. */
  insert(rows: readonly Row[], to: Destination): Promise<void>;
  /** Why a row cannot be written, where an error of `insert` is about the values; null: it is not. */
  valueFault(error: unknown): string | null;
}

/** A database that tables are in, over one connection. */
export interface TableDatabase {
  /** Tries nothing twice. @throws ExportError */
  transaction<T>(work: (session: TableSession) => Promise<T>): Promise<T>;
  /** Never throws. */
  close(): Promise<void>;
}

/** So many are told at once. */
const TOLD = 3;

/** No statement is waited for longer, whatever the server does. */
const TIMEOUT_MS = 60_000;

/**
 * Items as rows of a table. The cursor is a row of the same database, and moves in the same transaction as the rows: so
 * each item is written exactly once, whoever writes, however often a batch is given.
 *
 * An item that the table does not take (a value of another type, a violated constraint) is set aside: it is counted and
 * listed with the cursor, and the others go on.
 */
export class TableExport implements Target {
  readonly limits = { items: 1000, bytes: 4 * 1024 * 1024, lingerMs: 1000 };
  readonly #job: ExportJob;
  readonly #target: TableTarget;
  readonly #database: TableDatabase;
  #to: Destination | null = null;
  #toValues: ReturnType<typeof rowReader> | null = null;
  #cursor: Cursor = { next: 0, position: null };

  constructor(job: ExportJob, target: TableTarget, database: TableDatabase) {
    this.#job = job;
    this.#target = target;
    this.#database = database;
  }

  /** The cursor that is stored with us is of no weight: the one beside the rows is right. */
  open(_stored: Cursor, signal: AbortSignal): Promise<Cursor> {
    return this.#transaction(signal, async (session) => {
      await session.prepare();
      const info = await this.#table(session);
      const problems = tableProblems(this.#target, info);
      if (problems.length > 0) throw new ExportError('schema', listed(problems), { permanent: true });
      const columns = columnsOf(this.#target);
      this.#to = { columns, info, key: keyOf(this.#target, info) };
      this.#toValues = rowReader(this.#job.crawlId, columns, info);
      await session.makeCursor(this.#job);
      const { next, rejected } = (await session.cursor(this.#job))!;
      return this.#at(next, rejected);
    });
  }

  write(batch: Batch, signal: AbortSignal): Promise<Cursor> {
    return this.#transaction(signal, async (session) => {
      const cursor = await session.cursor(this.#job);
      if (cursor === null || cursor.next < this.#cursor.next)
        throw new ExportError('gone', 'the cursor of the target has gone back: what was written is not there any more');
      let { rejected } = cursor;
      const reject = (offset: number, reason: string) => {
        rejected = addRejected(rejected, offset, reason);
      };
      // Another holder of this export may have been here meanwhile.
      const items = batch.items.filter(({ offset }) => offset >= cursor.next);
      const rows = items.flatMap((item) => {
        try {
          return [{ offset: item.offset, values: this.#toValues!(item) }];
        } catch (error) {
          if (!(error instanceof Unfit)) throw error;
          reject(item.offset, error.message);
          return [];
        }
      });
      await this.#insert(session, rows, reject);
      if (batch.next > cursor.next) await session.setCursor(this.#job, { next: batch.next, rejected });
      return this.#at(batch.next, rejected);
    });
  }

  async flush(): Promise<Cursor> {
    return this.#cursor;
  }

  async finish(): Promise<Cursor> {
    return this.#cursor;
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  async #table(session: TableSession): Promise<TableInfo> {
    const found = await session.describe();
    if (found !== null) return found;
    const problems = missingTable(this.#target);
    if (problems.length > 0) throw new ExportError('schema', listed(problems), { permanent: true });
    await session.create();
    const made = await session.describe();
    if (made === null) throw new ExportError('refused', 'the table cannot be seen', { permanent: true });
    return made;
  }

  /** What makes a statement fail is found by halves, and set aside. */
  async #insert(
    session: TableSession,
    rows: readonly Row[],
    reject: (offset: number, reason: string) => void,
  ): Promise<void> {
    if (rows.length === 0) return;
    try {
      await session.insert(rows, this.#to!);
    } catch (error) {
      const reason = session.valueFault(error);
      if (reason === null) throw error;
      if (rows.length === 1) return reject(rows[0]!.offset, reason);
      const half = Math.ceil(rows.length / 2);
      await this.#insert(session, rows.slice(0, half), reject);
      await this.#insert(session, rows.slice(half), reject);
    }
  }

  async #transaction(signal: AbortSignal, work: (session: TableSession) => Promise<Cursor>): Promise<Cursor> {
    this.#cursor = await within(this.#database.transaction(work), TIMEOUT_MS, signal);
    return this.#cursor;
  }

  #at(next: number, rejected: Rejected): Cursor {
    return { next, position: positionOf(rejected) };
  }
}

function listed(problems: readonly Problem[]): string {
  return problems
    .slice(0, TOLD)
    .map(({ message }) => message)
    .join('; ');
}

/** What is wrong with the table as it is; the database is closed. @throws ExportError where it does not say */
export async function checkTable(database: TableDatabase, target: TableTarget): Promise<Problem[]> {
  try {
    return await database.transaction(async (session) => {
      const info = await session.describe();
      const problems = info === null ? missingTable(target) : tableProblems(target, info);
      if (problems.length === 0) await session.checkRights?.(info === null);
      return problems;
    });
  } finally {
    await database.close();
  }
}
