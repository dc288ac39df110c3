import { isAscii, isUtf8 } from 'node:buffer';

const XML_DECLARATION = /^\s*<\?xml[^>]+?encoding\s*=\s*["']\s*([^\s"'>]+)/;
const META = /<meta[^>]+?charset\s*=\s*["']?\s*([^\s"'/>;]+)/i;
const PRESCAN_BYTES = 1024;

/**
 * Decodes a page as browsers do: byte order mark, then the header's charset, then the page's own in its first 1,024 bytes
 * (of HTML in a meta tag, of XML in its declaration), then UTF-8 where the bytes are valid UTF-8, else windows-1252. A label
 * that no one knows falls through to the next. JSON is UTF-8, unless a mark or the header says otherwise.
 */
export function decodeBody(
  body: SharedArrayBuffer,
  length: number,
  contentType: string | null,
  kind: 'html' | 'xml' | 'json' | 'text',
): string {
  const bytes = Buffer.from(body, 0, length);
  const mark = bomOf(bytes);
  if (mark !== null) return decodeAs(mark, bytes);
  // Valid in every encoding that is a superset of ASCII; the others (UTF-16, ISO-2022-JP …) have to be named.
  const declared = decoderOf(charsetOf(contentType)) ?? ownCharset(bytes, kind);
  if (declared === 'utf-8' || declared === null) return decodeGuessed(bytes, declared === 'utf-8');
  return decodeAs(declared, bytes);
}

/** The charset parameter of a Content-Type; null where there is none. */
function charsetOf(contentType: string | null): string | null {
  return contentType === null ? null : (/charset\s*=\s*["']?\s*([^\s"';]+)/i.exec(contentType)?.[1] ?? null);
}

function decodeGuessed(bytes: Buffer, isDeclared: boolean): string {
  if (isAscii(bytes)) return bytes.toString('latin1');
  if (isDeclared || isUtf8(bytes)) return bytes.toString('utf8');
  return decodeAs('windows-1252', bytes);
}

function bomOf(bytes: Buffer): string | null {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'utf-8';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  return bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : null;
}

function ownCharset(bytes: Buffer, kind: 'html' | 'xml' | 'json' | 'text'): string | null {
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

/** TextDecoder refuses shared memory, hence the copy; pages like these are few. */
function decodeAs(name: string, bytes: Buffer): string {
  return new TextDecoder(name).decode(Uint8Array.from(bytes));
}
