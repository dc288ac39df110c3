import { createInterface } from 'node:readline';

/** A page as a line of JSON. */
export interface PageLine {
  url: string;
  html: string;
}

/** What a page gave. */
export interface Extracted {
  item: { title: string | null; h1: string | null; h2: string[] };
  links: string[];
}

/** Says `ready`, runs every page of the input, and says how long they took: the second half, when all code is compiled. */
export async function work(extract: (page: PageLine) => Extracted): Promise<void> {
  console.log('ready');
  const took: number[] = [];
  let links = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const page = JSON.parse(line) as PageLine;
    const start = performance.now();
    links += extract(page).links.length;
    took.push(performance.now() - start);
  }
  const late = took.slice(took.length / 2);
  const msPerPage = late.reduce((sum, ms) => sum + ms, 0) / late.length;
  console.log(JSON.stringify({ msPerPage, links, rssMb: process.memoryUsage().rss / 1024 / 1024 }));
}
