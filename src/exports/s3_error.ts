import { retryAfterMs } from '../model/retry_after.ts';
import { ExportError } from './target.ts';

/** What the SDK throws: errors of the service with a status, or of the network with a code. */
interface Thrown {
  name?: string;
  code?: string;
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
}

/** Nothing but a change of the operator's settings helps. */
const REFUSALS: Readonly<Record<string, string>> = {
  NoSuchBucket: 'there is no such bucket',
  AccessDenied: 'the key may not do this in the bucket',
  AllAccessDisabled: 'the bucket is closed',
  AccountProblem: 'the account is closed',
  InvalidAccessKeyId: 'the access key is unknown',
  SignatureDoesNotMatch: 'the secret of the access key is wrong',
  InvalidBucketName: 'there cannot be a bucket of this name',
  AuthorizationHeaderMalformed: 'the bucket is in another region; give `?region=` in its connection',
  PermanentRedirect: 'the bucket is in another region or at another address; give `?region=` in its connection',
  IllegalLocationConstraintException: 'the bucket is in another region; give `?region=` in its connection',
  KeyTooLongError: 'the keys are too long; give a shorter `prefix`',
  CredentialsProviderError: 'the connection has no access key, and the machine has none of its own',
};

const FULL = new Set(['QuotaExceeded', 'XMinioStorageFull', 'XMinioAdminBucketQuotaExceeded', 'InsufficientStorage']);
const TIMEOUTS = new Set(['TimeoutError', 'RequestTimeout', 'AbortError']);
/** Milliseconds; a longer one counts as this. */
const MAX_RETRY_AFTER = 3_600_000;
/** The SDK calls these time-outs, too. */
const CUT_OFF = new Set(['ECONNRESET', 'EPIPE']);

/** An error of the SDK as the export's. The server's own words stay out: they name keys, hosts and accounts. */
export function s3Error(error: unknown, what: string): ExportError {
  if (error instanceof ExportError) return error;
  const { name = '', code = '', $metadata, $response } = error as Thrown;
  const status = $metadata?.httpStatusCode;
  const told = (kind: string, why: string, permanent = false) =>
    new ExportError(kind, `${what}: ${why}`, { permanent, retryAt: retryAt($response?.headers?.['retry-after']) });

  const refusal = REFUSALS[name];
  if (refusal !== undefined) return told('refused', `${refusal} (${name})`, true);
  if (name === 'RequestTimeTooSkewed')
    return told('other', 'this machine’s clock and the server’s differ by more than 15 minutes; set them right');
  if (FULL.has(name) || status === 507) return told('full', `the storage is full (${name || status})`);
  if (CUT_OFF.has(code)) return told('connect', `the connection was cut off (${code})`);
  if (TIMEOUTS.has(name) || code === 'ETIMEDOUT') return told('timeout', 'the server did not answer in time');
  if (status === undefined && code !== '') return told('connect', `no connection (${code})`);
  if (status === undefined) return told('other', `it failed here (${name})`);
  // An answer to HEAD has no body that could say more.
  if (status === 401 || status === 403) return told('refused', `refused (${status})`, true);
  return told('other', `the server answered ${status}${name === '' || name === 'Unknown' ? '' : ` (${name})`}`);
}

/** @param value of Retry-After */
function retryAt(value: string | undefined): number | null {
  const now = Date.now();
  const ms = retryAfterMs(value, now);
  return ms === null ? null : now + Math.min(MAX_RETRY_AFTER, ms);
}

/** Whether the server says that something is not there: an object, or an upload that was completed or given up. */
export function isMissing(error: unknown): boolean {
  const { name } = error as Thrown;
  return name === 'NoSuchUpload' || name === 'NoSuchKey' || name === 'NotFound';
}

export function isNamed(error: unknown, ...names: string[]): boolean {
  return names.includes((error as Thrown).name ?? '');
}
