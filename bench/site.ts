/**
 * The site that all contenders crawl, as a process of its own: `node site.ts small|large|burn|tree|slow|broad`. Prints its port;
 * ends when its standard input does. It answers keep-alive GETs from memory on a bare socket, so that it takes little of the
 * machine that the contenders share with it.
 *
 * - `small`, `large`: `/<copy>/<path>`, each copy the whole corpus of that name
 * - `burn`: `/<n>.html`, pages on which sibling selectors take quadratic time
 * - `tree`: `/<fan>/<n>.html`: page 0 links to 1 … 1,000, and each of those to `fan` pages that link to nothing
 * - `slow`: a service that takes 100 ms for each answer, `{"score":1}`
 * - `broad`: every address of 127.0.0.0/8 is a host, with a robots.txt of its own and pages `/<n>/<i>.html`, of which 0 links
 *   to the other n - 1. `/seen` tells what came since it was asked last: see `Seen` in broad.ts
 */
import { createServer, type Socket } from 'node:net';
import { type CorpusName, loadCorpus } from './corpus.ts';

const BURN_SIBLINGS = 20_000;
const TREE_ROOTS = 1000;
const SLOW_MS = 100;
/** @param host as the request names it, with the port */
type Answers = (path: string, host: string) => Buffer | undefined;

const NOT_FOUND = Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n');

function answer(body: Buffer | string, type = 'text/html; charset=utf-8'): Buffer {
  const head = `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
}

function corpusAnswers(name: CorpusName): Answers {
  const byPath = new Map([...loadCorpus(name).pages].map(([path, body]) => [path, answer(body)]));
  return (path) => byPath.get(path.slice(path.indexOf('/', 1) + 1));
}

function burnAnswers(): Answers {
  const siblings = '<i></i><b></b>'.repeat(BURN_SIBLINGS / 2);
  const page = answer(`<!DOCTYPE html><title>Burn</title><div>${siblings}</div>`);
  return (path) => (path.endsWith('.html') ? page : undefined);
}

function treeAnswers(): Answers {
  const list = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => `<a href="${from + i}.html">${from + i}</a>`).join('');
  return (path) => {
    const [, fan, page] = /^\/(\d+)\/(\d+)\.html$/.exec(path) ?? [];
    if (page === undefined) return undefined;
    const n = Number(page);
    const [from, count] =
      n === 0 ? [1, TREE_ROOTS] : [TREE_ROOTS + 1 + (n - 1) * Number(fan), n <= TREE_ROOTS ? Number(fan) : 0];
    return answer(`<!DOCTYPE html><title>Page ${n}</title><h1>${n}</h1>${list(from, count)}`);
  };
}

/** Answers each whole request head in what has come so far; gives back the rest. */
function answerAll(socket: Socket, text: string, answers: Answers): string {
  let rest = text;
  for (let end = rest.indexOf('\r\n\r\n'); end >= 0; end = rest.indexOf('\r\n\r\n')) {
    const head = rest.slice(0, end);
    rest = rest.slice(end + 4);
    const path = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'));
    const respond = () => {
      socket.write(answers(path, /\r\nhost: *([^\r]*)/i.exec(head)?.[1] ?? '') ?? NOT_FOUND);
      if (/\r\nconnection: *close/i.test(head)) socket.end();
    };
    if (isSlow) setTimeout(respond, SLOW_MS);
    else respond();
  }
  return rest;
}

function slowAnswers(): Answers {
  const score = answer('{"score":1}', 'application/json');
  return () => score;
}

/** Remembers when each host was asked for a page, by this process's clock. */
function broadAnswers(): Answers {
  const times = new Map<string, number[]>();
  const pages = new Map<string, Buffer>();
  let most = 0;
  const page = (n: number, i: number) => {
    const links = Array.from(
      { length: i === 0 ? n : 1 },
      (_, to) => `<li><a href="${to}.html">Page ${to}</a> of ${n}</li>`,
    );
    const text = '<p>Words that stand for the text of a page, so that it is about as long as a short one.</p>'.repeat(
      20,
    );
    return answer(`<!DOCTYPE html><title>Page ${i}</title><h1>${i}</h1><ul>${links.join('')}</ul>${text}`);
  };
  const seen = () => {
    const hosts = [...times.values()];
    const gaps = hosts.map((at) => Math.min(...at.slice(1).map((time, i) => time - at[i]!)));
    const firsts = hosts.map(([first]) => first!);
    const body = { hosts: hosts.length, gaps, firsts, most, open: sockets };
    times.clear();
    most = sockets;
    return answer(JSON.stringify(body), 'application/json');
  };
  return (path, host) => {
    if (path === '/seen') return seen();
    if (path === '/robots.txt')
      return answer(`User-agent: *\nDisallow: /private/\nSitemap: http://${host}/sitemap.xml\n`, 'text/plain');
    const at = times.get(host);
    const now = performance.timeOrigin + performance.now();
    most = Math.max(most, sockets);
    if (at === undefined) times.set(host, [now]);
    else at.push(now);
    const known = pages.get(path);
    if (known !== undefined) return known;
    const [, n, i] = /^\/(\d+)\/(\d+)\.html$/.exec(path) ?? [];
    if (i === undefined) return undefined;
    const made = page(Number(n), Number(i));
    pages.set(path, made);
    return made;
  };
}

let sockets = 0;
const isSlow = process.argv[2] === 'slow';
const MODES: Record<string, () => Answers> = {
  small: () => corpusAnswers('small'),
  large: () => corpusAnswers('large'),
  burn: burnAnswers,
  tree: treeAnswers,
  slow: slowAnswers,
  broad: broadAnswers,
};
const makeAnswers = MODES[process.argv[2] ?? ''];
if (makeAnswers === undefined) throw new Error(`site.ts: say one of ${Object.keys(MODES).join(', ')}`);
const answers = makeAnswers();

const server = createServer({ noDelay: true }, (socket) => {
  let rest = '';
  sockets++;
  socket.on('close', () => sockets--);
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    rest = answerAll(socket, rest + chunk, answers);
  });
  socket.on('error', () => socket.destroy());
});
server.listen(0, process.argv[2] === 'broad' ? '0.0.0.0' : '127.0.0.1', () => {
  const address = server.address();
  console.log(typeof address === 'object' && address !== null ? address.port : '');
});
process.stdin.resume().on('end', () => process.exit(0));
