import { readdirSync, readFileSync } from 'node:fs';

/** Memory of a process with all that it started, in MiB, what they share counted once; null where the system does not tell. */
export function treeMemoryMb(pid: number): number | null {
  let kib = 0;
  try {
    for (const one of treeOf(pid)) kib += pssKib(one);
  } catch {
    return null; // not Linux
  }
  return kib / 1024;
}

/** The processes whose ancestor is `pid`, and itself. */
function treeOf(pid: number): Set<number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const one = Number(name);
    const parent = Number.isInteger(one) ? parentOf(one) : null;
    if (parent !== null) parents.set(one, parent);
  }
  const tree = new Set([pid]);
  for (let before = 0; before < tree.size; ) {
    before = tree.size;
    for (const [one, parent] of parents) if (tree.has(parent)) tree.add(one);
  }
  return tree;
}

function parentOf(pid: number): number | null {
  try {
    // proc(5): after the name in parentheses come the state and the parent.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null; // it ended meanwhile
  }
}

/** The proportional share: a browser's processes have hundreds of megabytes of code in common. */
function pssKib(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
