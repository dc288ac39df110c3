import type { Spider } from '../model/spider.ts';
import type { Db } from './client.ts';

const MAX_COUNTED = 5000;

/** What is known of a crawl's items without looking at them: what the columns of a table are found in. */
export interface TableSources {
  /** Only what items are made by. */
  definition: Pick<Spider, 'pages' | 'pipeline'>;
  /** Whether items are compared with those of earlier crawls. */
  compares: boolean;
  /** Item types that were counted. */
  types: string[];
  /** Fields that were counted, each as `type.field`. */
  filled: string[];
}

/** Null: there is no such crawl. */
export async function readTableSources(db: Db, crawlId: string): Promise<TableSources | null> {
  const [crawl] = await db<(Pick<TableSources, 'compares'> & Pick<Spider, 'pages' | 'pipeline'>)[]>`
    select definition->'pages' as pages, definition->'pipeline' as pipeline,
      coalesce(settings->'dedup'->>'scope' = 'spider', false) as compares
    from crawls where id = ${crawlId}`;
  if (crawl === undefined) return null;
  const counted = await db<{ kind: 'type' | 'field'; key: string }[]>`
    select kind, key from crawl_counts
    where crawl_id = ${crawlId} and kind in ('type', 'field') and n > 0
    order by kind desc, key limit ${MAX_COUNTED}`;
  const ofKind = (kind: string) => counted.filter((row) => row.kind === kind).map(({ key }) => key);
  const { pages, pipeline, compares } = crawl;
  const definition = { ...(pages == null ? {} : { pages }), ...(pipeline == null ? {} : { pipeline }) };
  return { definition, compares, types: ofKind('type'), filled: ofKind('field') };
}
