import type { StartCrawl } from '../dist/model/crawl.js';

/**
 * The body of `POST /crawls` that reads the whole shop: what to extract from a product, which links to follow.
 *
 * @param shop the start URL
 */
export function shopCrawl(shop: string): StartCrawl {
  return {
    spider: {
      name: 'shop',
      scope: { deny: ['?sort='] },
      pages: [
        {
          name: 'listing',
          match: ['/$', '/category/'],
          follow: [
            { selector: 'a.next', priority: 10 },
            { selector: '.card h3 a', allow: ['/product/'] },
            { selector: 'nav a, footer a, .sort a' },
          ],
        },
        {
          name: 'product',
          match: ['/product/'],
          items: [
            {
              type: 'product',
              fields: {
                title: 'h1',
                price: { selector: '.price', as: 'number' },
                stock: { selector: '.stock', match: '(\\d+) in stock', as: 'integer', default: 0 },
                sku: { selector: '.sku', match: 'SKU: ([A-Z]+-[0-9]+)' },
                rating: { selector: '.rating', value: 'data-rating', as: 'number' },
                image: { selector: '.gallery img', value: 'src', as: 'url' },
                tags: ['.tags li'],
                specs: [{ selector: 'table.specs tr', value: { name: 'th', value: 'td' } }],
              },
              required: ['title', 'price'],
              key: ['sku'],
            },
          ],
          follow: [{ selector: '.related a' }, { selector: '.downloads a', priority: -10 }],
        },
      ],
    },
    startUrls: [`${shop}/`],
    labels: { purpose: 'demo' },
  };
}
