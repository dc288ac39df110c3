import type { S3Client } from '@aws-sdk/client-s3';
import { readS3Url, type S3Location } from '../model/s3_url.ts';
import { isMissing, isNamed, s3Error } from './s3_error.ts';
import { ExportError } from './target.ts';

type Sdk = typeof import('@aws-sdk/client-s3');

/** A part of an upload, as the server has it. */
export interface Part {
  /** With its quotes, as the server gave it. */
  etag: string;
  bytes: number;
}

/** An upload in parts that is not yet an object. */
export interface Upload {
  id: string;
  /** Their numbers are their places, from 1. */
  parts: Part[];
}

const CONNECT_MS = 10_000;
const IDLE_MS = 30_000;
const REQUEST_MS = 120_000;
/** Of one call; what goes on failing is the runner's to repeat. */
const ATTEMPTS = 2;
/** Milliseconds that giving up an upload may take. */
const ABORT_MS = 5000;

/**
 * The few calls to one bucket that an export needs, with errors as exports have them.
 *
 * Not named `Bucket`: TypeScript 7.0 takes the key of `{ Bucket: … }` for a reference to a class of that name.
 */
export class S3Bucket {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #name: string;

  private constructor(sdk: Sdk, { bucket, endpoint, region, credentials, pathStyle }: S3Location) {
    this.#sdk = sdk;
    this.#name = bucket;
    this.#client = new sdk.S3Client({
      region,
      forcePathStyle: pathStyle,
      maxAttempts: ATTEMPTS,
      // Checksums that are not asked for are refused by older servers.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        socketTimeout: IDLE_MS,
        requestTimeout: REQUEST_MS,
        throwOnRequestTimeout: true,
      },
      ...(endpoint !== null && { endpoint }),
      ...(credentials !== null && { credentials }),
    });
  }

  /** Loads the SDK. Nothing is asked of the server. @param url of the connection, as `readS3Url` takes it */
  static async of(url: string): Promise<S3Bucket> {
    const location = readS3Url(url);
    if (location === null)
      throw new ExportError('refused', 'the connection is no s3://KEY:SECRET@host/bucket', { permanent: true });
    return new S3Bucket(await import('@aws-sdk/client-s3'), location);
  }

  /** @throws ExportError where the server is away, the key is wrong or there is no such bucket */
  async check(prefix: string, signal: AbortSignal): Promise<void> {
    try {
      const command = new this.#sdk.ListObjectsV2Command({ Bucket: this.#name, Prefix: prefix, MaxKeys: 1 });
      await this.#client.send(command, { abortSignal: signal });
    } catch (error) {
      // Who may write need not be allowed to list.
      if (!isNamed(error, 'AccessDenied')) throw s3Error(error, 'opening the bucket');
    }
  }

  /** Puts an empty object, which no upload can make. */
  async putEmpty(key: string, type: string, signal: AbortSignal): Promise<void> {
    try {
      const command = new this.#sdk.PutObjectCommand({
        ...{ Bucket: this.#name, Key: key, Body: new Uint8Array(), ContentType: type },
      });
      await this.#client.send(command, { abortSignal: signal });
    } catch (error) {
      throw s3Error(error, 'writing an object');
    }
  }

  /** Begins an upload. */
  async begin(key: string, type: string, signal: AbortSignal): Promise<Upload> {
    try {
      const command = new this.#sdk.CreateMultipartUploadCommand({ Bucket: this.#name, Key: key, ContentType: type });
      const { UploadId: id } = await this.#client.send(command, { abortSignal: signal });
      if (id === undefined) throw new ExportError('other', 'beginning an upload: the server gave no id');
      return { id, parts: [] };
    } catch (error) {
      throw s3Error(error, 'beginning an upload');
    }
  }

  /** @returns the upload with one part more */
  async add(key: string, { id, parts }: Upload, body: Uint8Array, signal: AbortSignal): Promise<Upload> {
    try {
      const command = new this.#sdk.UploadPartCommand({
        ...{ Bucket: this.#name, Key: key, UploadId: id, PartNumber: parts.length + 1, Body: body },
      });
      const { ETag: etag } = await this.#client.send(command, { abortSignal: signal });
      if (etag === undefined) throw new ExportError('other', 'writing a part: the server gave no ETag');
      return { id, parts: [...parts, { etag, bytes: body.length }] };
    } catch (error) {
      throw s3Error(error, 'writing a part');
    }
  }

  /** Whether the upload is there with these parts and can be gone on with. */
  async has(key: string, { id, parts }: Upload, signal: AbortSignal): Promise<boolean> {
    const there = new Map<number, string>();
    let marker: string | undefined;
    try {
      do {
        const command = new this.#sdk.ListPartsCommand({
          ...{ Bucket: this.#name, Key: key, UploadId: id, PartNumberMarker: marker },
        });
        const page = await this.#client.send(command, { abortSignal: signal });
        for (const { PartNumber, ETag } of page.Parts ?? []) there.set(PartNumber ?? 0, ETag ?? '');
        marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
      } while (marker !== undefined);
    } catch (error) {
      if (isMissing(error)) return false;
      // Where parts may be written and not be listed, the upload's end will tell.
      if (isNamed(error, 'AccessDenied')) return true;
      throw s3Error(error, 'looking for an upload');
    }
    return parts.every(({ etag }, i) => there.get(i + 1) === etag);
  }

  /**
   * Makes the object of the upload's parts; done twice is once.
   *
   * @returns false where it is not there and never will be: the upload is gone, or a part is another one
   */
  async complete(key: string, { id, parts }: Upload, signal: AbortSignal): Promise<boolean> {
    try {
      const command = new this.#sdk.CompleteMultipartUploadCommand({
        ...{ Bucket: this.#name, Key: key, UploadId: id },
        MultipartUpload: { Parts: parts.map(({ etag }, i) => ({ PartNumber: i + 1, ETag: etag })) },
      });
      await this.#client.send(command, { abortSignal: signal });
      return true;
    } catch (error) {
      if (isNamed(error, 'InvalidPart')) return false;
      if (!isMissing(error)) throw s3Error(error, 'completing an object');
    }
    return (await this.#length(key, signal)) === parts.reduce((sum, part) => sum + part.bytes, 0);
  }

  /** Gives an upload up, and with it what its parts take on the server. Best effort: the bucket's own rules do the rest. */
  async abort(key: string, { id }: Upload): Promise<void> {
    const command = new this.#sdk.AbortMultipartUploadCommand({ Bucket: this.#name, Key: key, UploadId: id });
    await this.#client.send(command, { abortSignal: AbortSignal.timeout(ABORT_MS) }).catch(() => {});
  }

  close(): void {
    this.#client.destroy();
  }

  /** Bytes of an object. Null: there is none, or it may not be looked at. */
  async #length(key: string, signal: AbortSignal): Promise<number | null> {
    const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#name, Key: key });
    try {
      return (await this.#client.send(command, { abortSignal: signal })).ContentLength ?? null;
    } catch (error) {
      const failure = s3Error(error, 'looking at an object');
      if (isMissing(error) || failure.code === 'refused') return null;
      throw failure;
    }
  }
}
