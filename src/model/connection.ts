/** What a named connection of the operator leads to, by the scheme of its URL. */
export type ConnectionKind = 'postgres' | 'mysql' | 'mongodb' | 'redis' | 's3';

const SCHEMES: Readonly<Record<string, ConnectionKind>> = {
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
  'mysql:': 'mysql',
  'mariadb:': 'mysql',
  'mongodb:': 'mongodb',
  'mongodb+srv:': 'mongodb',
  'redis:': 'redis',
  'rediss:': 'redis',
  's3:': 's3',
  's3+http:': 's3',
};

/** Null: the URL is of no kind that there is. */
export function connectionKind(url: string): ConnectionKind | null {
  const scheme = /^[a-z][a-z0-9+]*:(?=\/\/.)/i.exec(url)?.[0].toLowerCase();
  const kind = scheme === undefined ? undefined : SCHEMES[scheme];
  // A replica set's hosts are more than one, which is no URL for others.
  return kind === undefined || (kind !== 'mongodb' && !URL.canParse(url)) ? null : kind;
}
