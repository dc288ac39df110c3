import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const NOUNS = [
  'Lamp',
  'Chair',
  'Table',
  'Shelf',
  'Rug',
  'Mirror',
  'Clock',
  'Vase',
  'Cushion',
  'Blanket',
  'Mug',
  'Bowl',
];
const STYLES = ['Plain', 'Round', 'Tall', 'Folding', 'Nordic'];
const MATERIALS = ['Oak', 'Linen', 'Copper', 'Stone', 'Glass'];
const TAGS = ['new', 'gift', 'handmade', 'kitchen', 'living room', 'outdoor', 'sale'];
const PER_PAGE = 9;
/** Every so many products one links to a manual that is not there. */
const BROKEN_EVERY = 50;

/** One product of the shop. */
export interface Product {
  path: string;
  sku: string;
  title: string;
  category: string;
  /** Pence; null: on request, so that the demo's spider drops it. */
  price: number | null;
  stock: number;
  tags: string[];
}

/** A shop on loopback for the demo to crawl. */
export interface Shop {
  url: string;
  products: readonly Product[];
  close(): Promise<void>;
}

/** 25 products in each of twelve categories, and four whose price is on request. The same at every start. */
function makeProducts(): Product[] {
  const products: Product[] = [];
  for (const [c, noun] of NOUNS.entries()) {
    const names = STYLES.flatMap((style) => MATERIALS.map((material) => `${style} ${material} ${noun}`));
    if (c % 3 === 0) names.push(`Made-to-measure ${noun}`);
    for (const [n, title] of names.entries()) {
      const mix = (c * 31 + n * 17) % 97;
      products.push({
        path: `/product/${title.toLowerCase().replaceAll(' ', '-')}`,
        sku: `${noun.slice(0, 3).toUpperCase()}-${String(n + 1).padStart(4, '0')}`,
        title,
        category: noun.toLowerCase(),
        price: n < 25 ? 995 + mix * 1310 : null,
        stock: mix % 8 === 0 ? 0 : mix,
        tags: TAGS.filter((_, i) => (mix + i) % 3 === 0),
      });
    }
  }
  return products;
}

/** Starts the shop on a free port of 127.0.0.1; it answers after a few milliseconds, as a shop nearby would. */
export async function startShop(): Promise<Shop> {
  const products = makeProducts();
  const pages = new Map(products.map((product, i) => [product.path, () => productPage(products, i)]));
  for (const noun of NOUNS) pages.set(`/category/${noun.toLowerCase()}`, () => '');
  const server = createServer((request, response) => void answer(products, pages, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    products,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  products: readonly Product[],
  pages: ReadonlyMap<string, () => string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://shop');
  await sleep(5 + (pathname.length % 20));
  if (pathname === '/robots.txt') return void response.end('User-agent: *\nDisallow: /admin/\n');
  if (pathname === '/sale') return void response.writeHead(302, { location: '/category/lamp' }).end();
  const html = pageAt(products, pages, pathname, Number(searchParams.get('page') ?? 1));
  response.writeHead(html === null ? 404 : 200, { 'content-type': 'text/html; charset=utf-8' });
  response.end(html ?? layout('Not found', '<h1>There is no such page</h1>'));
}

function pageAt(
  products: readonly Product[],
  pages: ReadonlyMap<string, () => string>,
  path: string,
  page: number,
): string | null {
  if (path === '/') return layout('Home', `<h1>Hearth &amp; Home</h1>${cards(products.slice(0, PER_PAGE))}`);
  if (path === '/delivery') return layout('Delivery', '<h1>Delivery</h1><p>Two to four working days.</p>');
  if (path === '/contact')
    return layout('Contact', '<h1>Contact</h1><p>Write to <a href="mailto:shop@shop.example">us</a>.</p>');
  const category = /^\/category\/(\w+)$/.exec(path)?.[1];
  if (category === undefined || !pages.has(path)) return pages.get(path)?.() ?? null;
  return categoryPage(
    products.filter((product) => product.category === category),
    category,
    page,
  );
}

function layout(title: string, body: string): string {
  const categories = NOUNS.map((noun) => `<li><a href="/category/${noun.toLowerCase()}">${noun}s</a></li>`).join(
    '\n      ',
  );
  return `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>${title} | Hearth &amp; Home</title>
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  <nav>
    <a class="logo" href="/">Hearth &amp; Home</a>
    <ul>
      ${categories}
    </ul>
    <a href="/sale?utm_source=banner">Sale</a>
  </nav>
  <main>
${body}
  </main>
  <footer>
    <a href="/delivery">Delivery</a> <a href="/contact">Contact</a> <a href="/admin/login">Staff</a>
    <a href="https://payments.example/about">Payment by a partner</a>
  </footer>
</body>
</html>
`;
}

function cards(products: readonly Product[]): string {
  const card = ({ path, title, price }: Product) =>
    `    <article class="card"><h3><a href="${path}">${title}</a></h3><p class="price">${money(price)}</p></article>`;
  return products.map(card).join('\n');
}

function money(pence: number | null): string {
  if (pence === null) return 'Price on request';
  return `£${(pence / 100).toLocaleString('en-GB', { minimumFractionDigits: 2 })}`;
}

function categoryPage(products: readonly Product[], category: string, page: number): string | null {
  const here = products.slice((page - 1) * PER_PAGE, page * PER_PAGE);
  if (here.length === 0) return null;
  const more = page * PER_PAGE < products.length;
  const next = more ? `<a class="next" href="/category/${category}?page=${page + 1}">Next page</a>` : '';
  return layout(
    category,
    `<h1>${category}s</h1>
    <p class="sort">Sort by <a href="?sort=price">price</a> <a href="?sort=name">name</a></p>
${cards(here)}
    ${next}`,
  );
}

function productPage(products: readonly Product[], index: number): string {
  const { title, sku, category, price, stock, tags } = products[index]!;
  const related = [1, 7, 40].map((step) => products[(index + step) % products.length]!);
  const links = related.map((other) => `<li><a href="${other.path}">${other.title}</a></li>`).join('');
  const manual = index % BROKEN_EVERY === 0 ? `<p class="downloads"><a href="/manuals/${sku}.html">Manual</a></p>` : '';
  return layout(
    title,
    `    <p class="crumbs"><a href="/">Home</a> › <a href="/category/${category}">${category}s</a></p>
    <h1>${title}</h1>
    <p class="gallery"><img src="../images/${sku}.jpg" alt="${title}"></p>
    <p class="price">${money(price)}</p>
    <p class="stock">${stock === 0 ? 'Sold out' : `${stock} in stock`}</p>
    <p class="sku">SKU: ${sku}</p>
    <span class="rating" data-rating="${(3 + (index % 21) / 10).toFixed(1)}">★★★★</span>
    <ul class="tags">${tags.map((tag) => `<li>${tag}</li>`).join('')}</ul>
    <div class="description">
      <p>${title}: made to last, easy to clean, and sent in a box without plastic. Every piece is looked at twice before
      it leaves the workshop, so that small differences in colour are a sign of the hand, not of haste.</p>
    </div>
    <table class="specs">
      <tr><th>Material</th><td>${title.split(' ')[1]}</td></tr>
      <tr><th>Width</th><td>${20 + (index % 60)} cm</td></tr>
      <tr><th>Weight</th><td>${(0.4 + (index % 50) / 10).toFixed(1)} kg</td></tr>
    </table>
    ${manual}
    <ul class="related">${links}</ul>`,
  );
}
