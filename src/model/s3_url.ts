/** Where a connection `s3://KEY:SECRET@host[:port]/bucket?region=…` leads to. */
export interface S3Location {
  bucket: string;
  /** Of the server; null: Amazon's own, by the region. */
  endpoint: string | null;
  region: string;
  /** Null: those that the machine has, by the rules of the AWS SDKs: environment, profile, role. */
  credentials: { accessKeyId: string; secretAccessKey: string } | null;
  /** Whether the bucket stands in the path and not in the host's name. */
  pathStyle: boolean;
}

/**
 * Reads the URL of a bucket. `s3:` speaks https, `s3+http:` plain http. Without a host, or with one of Amazon's, Amazon's
 * own addresses are used; others get the bucket in the path unless `virtualHost=true`.
 *
 * @returns null where it names no bucket, or what cannot be
 */
export function readS3Url(text: string): S3Location | null {
  const url = isDecodable(text) ? URL.parse(text) : null;
  const [bucket, ...more] = url?.pathname.split('/').filter((part) => part !== '') ?? [];
  if (url === null || bucket === undefined || more.length > 0 || url.hash !== '') return null;
  const { host, username, password, searchParams } = url;
  if ((username === '') !== (password === '') || (host === '' && url.protocol !== 's3:')) return null;
  const ofAmazon = host === '' ? [host] : /^s3(?:[.-]([a-z0-9-]+))?\.amazonaws\.com$/.exec(host);
  return {
    bucket: decodeURIComponent(bucket),
    endpoint: ofAmazon === null ? `${url.protocol === 's3:' ? 'https' : 'http'}://${host}` : null,
    region: searchParams.get('region') ?? ofAmazon?.[1] ?? 'us-east-1',
    credentials:
      username === ''
        ? null
        : { accessKeyId: decodeURIComponent(username), secretAccessKey: decodeURIComponent(password) },
    pathStyle: ofAmazon === null && searchParams.get('virtualHost') !== 'true',
  };
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
