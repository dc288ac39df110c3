/** Prints what `npm test` runs: the groups, and the files that are in none. */
import { filesOf, GROUPS, testFiles } from './groups.ts';

const grouped = new Set(Object.keys(GROUPS).flatMap(filesOf));
const alone = testFiles(['**/*']).filter((file) => !grouped.has(file));
console.log(
  [...Object.keys(GROUPS).map((group) => `groups/${group}.ts`), ...alone].map((file) => `test/${file}`).join('\n'),
);
