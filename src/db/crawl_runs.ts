import type { CrawlState } from '../model/crawl.ts';
import { DEFAULT_SETTINGS, type Settings } from '../model/settings.ts';
import type { Params, Spider } from '../model/spider.ts';
import type { Db } from './client.ts';

/** What running a crawl needs of its row. */
export interface StoredCrawl {
  id: string;
  state: CrawlState;
  settingsVersion: number;
  settings: Settings;
  definition: Spider;
  scopeHosts: string[];
  params: Params;
  /** Of the spider; null: none. */
  spiderName: string | null;
}

export async function loadCrawls(sql: Db, ids: readonly string[]): Promise<StoredCrawl[]> {
  const rows = await sql<StoredCrawl[]>`
    select id, state, settings_version as "settingsVersion", settings, definition, scope_hosts as "scopeHosts", params,
           spider_name as "spiderName"
    from crawls where id = any (${ids as string[]}::uuid[])`;
  // A crawl that an older version started has no value for settings that came later.
  return rows.map((row) => ({ ...row, settings: { ...DEFAULT_SETTINGS, ...row.settings } }));
}

/** The states of these crawls; a deleted one is not there. */
export async function crawlStates(sql: Db, ids: readonly string[]): Promise<Map<string, CrawlState>> {
  const rows = await sql<{ id: string; state: CrawlState }[]>`
    select id, state from crawls where id = any (${ids as string[]}::uuid[])`;
  return new Map(rows.map((row) => [row.id, row.state]));
}
