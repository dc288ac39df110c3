import { globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Files of `npm test` that share a process, by the name of the group: most of what a small file took was the start of its process and
 * the loading of what it tests (a third of a second of CPU, 0.8 s where that is the API). A file that changes its process (such as
 * the certificates it trusts: test/downloader), measures its memory, or starts nodes has one of its own; so has each file that is
 * run by its name.
 */
export const GROUPS: Record<string, { files: string[]; except: string[] }> = {
  database: {
    files: ['db/*', 'frontier/{claims,frontier}', 'pipeline/*', 'engine/response_cache'],
    except: ['db/embedded'],
  },
  exports: { files: ['exports/{export_warnings,files,mongodb,redis,runner,tables,thread,webhook}'], except: [] },
  parser: { files: ['parser/*'], except: ['parser/{hostile_pages,pool,real_sites,retained,steps_pool}'] },
  plain: {
    files: [
      'config',
      'engine/{back_off,cron,cpu_watch,export_input,gatherer,page_memory,pages}',
      'formats/*',
      'frontier/{loans,scheduler,throttle,window}',
      'model/*',
    ],
    except: [],
  },
  routes: { files: ['routes/*', 'attack/api', 'stream/{events,formats,wakeups}'], except: ['routes/preview'] },
};

const TEST = fileURLToPath(new URL('..', import.meta.url));

/** Paths from `test/`, sorted. */
export function testFiles(patterns: string[]): string[] {
  return globSync(
    patterns.map((pattern) => `${pattern}.test.ts`),
    { cwd: TEST },
  ).sort();
}

export function filesOf(group: string): string[] {
  const { files, except } = GROUPS[group]!;
  const others = new Set(testFiles(except));
  return testFiles(files).filter((file) => !others.has(file));
}
