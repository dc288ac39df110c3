import { spawn } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** Which wall stands around a script's process. */
export interface Boundary {
  kind: 'bubblewrap' | 'process';
  /** In words, with what is missing. */
  detail: string;
}

/** How a script's process is started. */
export interface Launch extends Boundary {
  /** The program, by its absolute path, and its arguments. */
  command: string[];
}

/** Bubblewrap's status has a stream of its own: it closes that one in the program, which needs its first three. */
const PIPES: 'pipe'[] = ['pipe', 'pipe', 'pipe', 'pipe'];
const PROBE_MS = 10_000;
/** Heap of the process besides the script's own memory: trees of pages, and answers on their way. */
const HEAP_MB = 256;
/** KiB: QuickJS's stack ends first, so that deep recursion is the script's error and not the process's end. */
const STACK_KB = 3900;
const FLAGS = [
  `--max-old-space-size=${HEAP_MB}`,
  '--max-semi-space-size=8',
  `--stack-size=${STACK_KB}`,
  '--v8-pool-size=1',
  '--disallow-code-generation-from-strings',
  '--no-addons',
  '--no-warnings',
];
/** CPU seconds of one process; it is replaced long before, so that only what nobody watches gets there. */
const CPU_SECONDS = 900;
const RLIMITS = ['--core=0', '--nofile=64', '--fsize=0', `--cpu=${CPU_SECONDS}`];

const CHILD = '/app/dist/parser/script/child.js';

/** Packages that the child imports; what they depend on comes with them. */
const PACKAGES = [
  '@jitl/quickjs-ng-wasmfile-release-sync',
  'quickjs-emscripten-core',
  'htmlparser2',
  'css-select',
  'css-what',
  'cheerio',
  're2js',
  'fontoxpath',
  '@jmespath-community/jmespath',
  'typebox',
];

/** Files that the child reads, each with its place below the application's root. */
interface Files {
  root: string;
  paths: { from: string; to: string }[];
}

/**
 * Finds the strongest wall that works here: bubblewrap (no network, no files but the program's, no other process, no rights),
 * else a process with node's permissions, limits and an empty environment.
 *
 * @param want `process` leaves bubblewrap out
 */
export async function findBoundary(want: Boundary['kind'] = 'bubblewrap'): Promise<Launch> {
  const files = filesOf(fileURLToPath(import.meta.url));
  const limits = await prefixOf('prlimit', RLIMITS);
  const missing = limits.length === 0 ? '; no prlimit' : '';
  let reason = 'it was not asked for';
  const bwrap = find('bwrap');
  if (bwrap === null) reason = 'bwrap is not there';
  for (const wrap of want === 'bubblewrap' && bwrap !== null ? wraps(files) : []) {
    const failure = await failureOf([...limits, bwrap!, ...wrap, '--json-status-fd', '3', '--', '/node', '--version']);
    if (failure === null)
      return {
        kind: 'bubblewrap',
        detail: `no network, no files, no other processes, no capabilities${missing}`,
        command: [...limits, bwrap!, ...wrap, '--json-status-fd', '3', '--', '/node', ...FLAGS, CHILD],
      };
    reason = failure;
  }
  return plainProcess(files, limits, reason);
}

async function plainProcess(files: Files, limits: string[], reason: string): Promise<Launch> {
  const death = await prefixOf('setpriv', ['--pdeathsig', 'KILL']);
  const allowed = ['package.json', 'dist', 'node_modules'].map((name) => join(files.root, name));
  const reads = [...allowed, ...files.paths.map(({ from }) => from)].map((path) => `--allow-fs-read=${path}`);
  const child = join(files.root, 'dist/parser/script/child.js');
  return {
    kind: 'process',
    detail:
      `no bubblewrap (${reason.slice(0, 200)}): a process with node's permission model, an empty environment` +
      `${limits.length === 0 ? '' : ' and limits'}; the script's engine alone keeps it from the network`,
    command: [...limits, ...death, process.execPath, ...FLAGS, '--permission', ...reads, child],
  };
}

/** Ways to call bubblewrap, the strictest first: kernels and versions differ in what they allow. */
function wraps(files: Files): string[][] {
  const base = ['--unshare-all', '--die-with-parent', '--new-session', '--clearenv', '--cap-drop', 'ALL'];
  const nobody = ['--unshare-user', '--uid', '65534', '--gid', '65534'];
  const tail = ['--as-pid-1', '--remount-ro', '/', '--chdir', '/'];
  const app = files.paths.flatMap(({ from, to }) => ['--ro-bind', from, `/app/${to}`]);
  const node = ['--ro-bind', realpathSync(process.execPath), '/node', ...app];
  const few = [...libraries(), ...node, ...tail];
  const all = ['/lib', '/lib64', '/usr/lib', '/usr/lib64'].filter((path) => existsSync(path));
  const many = [...all.flatMap((path) => ['--ro-bind', path, path]), ...node, ...tail];
  return [
    [...base, ...nobody, '--disable-userns', ...few],
    [...base, ...nobody, ...few],
    [...base, ...few],
    [...base, ...many],
  ];
}

/** The shared libraries of this process, each under the name by which it is looked for. */
function libraries(): string[] {
  if (!existsSync('/proc/self/maps')) return [];
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const paths = new Set(lines.map((line) => line.slice(73).trim()).filter((path) => /^\/.*\.so(\.|$)/.test(path)));
  const binds = [...paths].flatMap((path) => [
    '--ro-bind',
    path,
    `/lib/${path
      .split('/')
      .at(-1)!
      .replace(/(\.so\.\d+)\..*/, '$1')}`,
  ]);
  return [...binds, '--symlink', 'lib', '/lib64'];
}

/** @param self this file's path, in `dist/parser/script` */
function filesOf(self: string): Files {
  const root = join(dirname(self), '../../..');
  const paths = ['package.json', 'dist/parser', 'dist/model'].map((path) => ({
    from: realpathSync(join(root, path)),
    to: path,
  }));
  const packages = new Map<string, string>();
  for (const name of PACKAGES) addPackage(join(root, 'package.json'), name, packages);
  for (const [name, from] of packages) paths.push({ from, to: `node_modules/${name}` });
  return { root, paths };
}

/** Adds a package and what it depends on, by the folders where node finds them. Nested copies come with their package. */
function addPackage(importer: string, name: string, packages: Map<string, string>): void {
  const folders = createRequire(importer).resolve.paths(name) ?? [];
  const folder = folders.map((path) => join(path, name)).find((path) => existsSync(join(path, 'package.json')));
  if (folder === undefined) return;
  const real = realpathSync(folder);
  const isNested = [...packages.values()].some((known) => real.startsWith(`${known}/`));
  if (packages.has(name) || isNested) return;
  packages.set(name, real);
  const manifest = join(real, 'package.json');
  const { dependencies = {} } = JSON.parse(readFileSync(manifest, 'utf8')) as { dependencies?: Record<string, string> };
  for (const dependency of Object.keys(dependencies)) addPackage(manifest, dependency, packages);
}

/** A command to be put before another; empty where it does not work. */
async function prefixOf(name: string, args: string[]): Promise<string[]> {
  const path = find(name);
  if (path === null) return [];
  const prefix = [path, ...args];
  return (await failureOf([...prefix, process.execPath, '--version'])) === null ? prefix : [];
}

/** A program's absolute path: the child has no PATH. */
function find(name: string): string | null {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder.startsWith('/'));
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

/** Runs a command whose output does not matter. @returns why it failed; null where it did not */
function failureOf([command, ...args]: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    let text = '';
    const child = spawn(command!, args, { env: {}, cwd: '/', timeout: PROBE_MS, stdio: PIPES });
    for (const stream of child.stdio) stream?.on('error', () => undefined);
    for (const stream of [child.stdout, child.stdio[3] as Readable]) stream?.resume();
    child.stderr?.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-1000);
    });
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => {
      resolve(code === 0 ? null : text.trim().split('\n').at(-1) || `it ended with ${signal ?? code}`);
    });
  });
}
