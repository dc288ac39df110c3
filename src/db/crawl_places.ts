/**
 * The crawls of a statement's rows: each id once, and for each row its place among them, from 1, as PostgreSQL counts. A batch
 * is of few crawls, and an id is 36 characters to write, to send and to parse.
 */
export function crawlPlaces(rows: readonly { crawlId: string }[]): { ids: string[]; places: number[] } {
  const places = new Map<string, number>();
  const ofRows = rows.map(({ crawlId }) => {
    let place = places.get(crawlId);
    if (place === undefined) {
      place = places.size + 1;
      places.set(crawlId, place);
    }
    return place;
  });
  return { ids: [...places.keys()], places: ofRows };
}
