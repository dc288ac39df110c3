import { describe } from 'node:test';
import { filesOf } from './groups.ts';

/** Runs the files of a group one after the other. Each is a suite, so that its hooks are for its own tests. */
export function together(group: string): void {
  for (const file of filesOf(group))
    describe(file, async () => {
      await import(`../${file}`);
    });
}
