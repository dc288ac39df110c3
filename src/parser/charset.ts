import { isAscii, isUtf8 } from 'node:buffer';

const XML_DECLARATION = /^\s*<\?xml[^>]+?encoding\s*=\s*["']\s*([^\s"'>]+)/;
const META = /<meta[^>]+?charset\s*=\s*["']?\s*([^\s"'/>;]+)/i;
const PRESCAN_BYTES = 1024;

/** The text of a body, decoded when it is asked for: whole, or in parts of which none is held longer than it is read. */
export class BodyText {
  readonly #bytes: Buffer;
  /** `ascii`, or a WHATWG name. */
  readonly #encoding: string;

  /**
   * As browsers decode: byte order mark, then the header's charset, then the page's own in its first 1,024 bytes (of HTML in a
   * meta tag, of XML in its declaration), then UTF-8 where the bytes are valid UTF-8, else windows-1252. A label that no one
   * knows falls through to the next. JSON is UTF-8, unless a mark or the header says otherwise.
   */
  constructor(body: SharedArrayBuffer, length: number, contentType: string | null, kind: Kind) {
    this.#bytes = Buffer.from(body, 0, length);
    this.#encoding = encodingOf(this.#bytes, contentType, kind);
  }

  whole(): string {
    return this.#decode(0, this.#bytes.length);
  }

  /** The same text in parts of about `size` bytes; of rare encodings and after a byte order mark in one. */
  *parts(size: number): Generator<string> {
    const bytes = this.#bytes;
    const isPlain = (this.#encoding === 'ascii' || this.#encoding === 'utf-8') && bomOf(bytes) === null;
    for (let from = 0; from < bytes.length; ) {
      const to = isPlain && bytes.length - from > size ? characterEnd(bytes, from + size) : bytes.length;
      yield this.#decode(from, to);
      from = to;
    }
  }

  #decode(from: number, to: number): string {
    if (this.#encoding === 'ascii') return this.#bytes.toString('latin1', from, to);
    if (this.#encoding === 'utf-8' && bomOf(this.#bytes) === null) return this.#bytes.toString('utf8', from, to);
    // TextDecoder refuses shared memory, hence the copy; pages like these are few.
    return new TextDecoder(this.#encoding).decode(Uint8Array.from(this.#bytes.subarray(from, to)));
  }
}

/** Where the character ends that the byte before `at` belongs to: at most three bytes go on with it. */
function characterEnd(bytes: Buffer, at: number): number {
  let end = at;
  while (end < at + 3 && (bytes[end]! & 0xc0) === 0x80) end++;
  return Math.min(end, bytes.length);
}

type Kind = 'html' | 'xml' | 'json' | 'text';

/** A body's text, whole: see `BodyText`. */
export function decodeBody(body: SharedArrayBuffer, length: number, contentType: string | null, kind: Kind): string {
  return new BodyText(body, length, contentType, kind).whole();
}

function encodingOf(bytes: Buffer, contentType: string | null, kind: Kind): string {
  const mark = bomOf(bytes);
  if (mark !== null) return mark;
  // Valid in every encoding that is a superset of ASCII; the others (UTF-16, ISO-2022-JP …) have to be named.
  const declared = decoderOf(charsetOf(contentType)) ?? ownCharset(bytes, kind);
  if (declared !== 'utf-8' && declared !== null) return declared;
  if (isAscii(bytes)) return 'ascii';
  return declared === 'utf-8' || isUtf8(bytes) ? 'utf-8' : 'windows-1252';
}

/** The charset parameter of a Content-Type; null where there is none. */
function charsetOf(contentType: string | null): string | null {
  return contentType === null ? null : (/charset\s*=\s*["']?\s*([^\s"';]+)/i.exec(contentType)?.[1] ?? null);
}

function bomOf(bytes: Buffer): string | null {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'utf-8';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  return bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : null;
}

function ownCharset(bytes: Buffer, kind: Kind): string | null {
  if (kind === 'html') return labelled(META, bytes);
  return kind === 'xml' ? labelled(XML_DECLARATION, bytes) : null;
}

/** A page that says of itself, in ASCII, that it is UTF-16 is not: the standard reads UTF-8. */
function labelled(pattern: RegExp, bytes: Buffer): string | null {
  const label = pattern.exec(bytes.toString('latin1', 0, PRESCAN_BYTES))?.[1] ?? null;
  if (label === null) return null;
  const name = decoderOf(label);
  if (name === 'utf-16le' || name === 'utf-16be') return 'utf-8';
  return name === 'x-user-defined' ? 'windows-1252' : name;
}

const known = new Map<string, string | null>();

/** The WHATWG name of a label; null where there is no such encoding. */
function decoderOf(label: string | null): string | null {
  if (label === null || label.length > 40) return null;
  let name = known.get(label);
  if (name === undefined) {
    name = nameOf(label);
    if (known.size < 1000) known.set(label, name);
  }
  return name;
}

function nameOf(label: string): string | null {
  try {
    return new TextDecoder(label).encoding;
  } catch {
    return null;
  }
}
