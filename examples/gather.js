// A script spider: what a page says is completed by pages behind it, fetched at once and awaited without leaving the
// callback. Politeness, robots.txt, scope and the egress guard hold for `ctx.fetch` as for every request of a crawl.
//
//   jq -n --rawfile script examples/gather.js '{ spider: { script: $script } }' |
//     curl localhost:3000/crawls -H 'content-type: application/json' -d @-
export default {
  name: 'gather',
  startUrls: ['https://shop.example/'],
  async *parse(response, ctx) {
    const cards = [...response.css('.card')];
    const pages = await Promise.all(
      cards.map((card) => ctx.fetch(response.urljoin(card.css('a').attr('href')))),
    );
    for (const [i, card] of cards.entries()) {
      const offers = await ctx.fetchJson(response.urljoin(`/api/offers/${card.attr('data-sku')}.json`));
      yield {
        sku: card.attr('data-sku'),
        title: card.css('h3').text(),
        price: card.css('.price').number(),
        description: pages[i].css('.description').text(),
        cheapest: Math.min(...offers.map((offer) => offer.price)),
      };
    }
    ctx.log(`${cards.length} products on ${response.url}`);
    for (const href of response.css('a.next').attrs('href')) yield ctx.follow(href, { callback: 'parse', priority: 10 });
  },
  processItem(item) {
    return item.price > 0 ? item : null;
  },
};
