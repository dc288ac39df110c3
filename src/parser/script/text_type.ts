const TEXT =
  /^(?:text\/|message\/)|[/+](?:json|xml|html|xhtml|javascript|ecmascript|csv|yaml|x-www-form-urlencoded)(?:$|[+-])|json|xml/i;
const BINARY = /^(?:image|audio|video|font)\/|zip|compressed|pdf|msword|officedocument|gzip|tar$/i;
const SNIFF_BYTES = 1024;

/** True for a body that a script may read as text: by its type, or where that does not tell by how it begins. */
export function isText(body: SharedArrayBuffer, length: number, contentType: string | null): boolean {
  const type = (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (TEXT.test(type)) return true;
  if (BINARY.test(type)) return false;
  const head = new Uint8Array(body, 0, Math.min(length, SNIFF_BYTES));
  // UTF-16 has its mark; other text has no control characters but white space and escape.
  if ((head[0] === 0xfe && head[1] === 0xff) || (head[0] === 0xff && head[1] === 0xfe)) return true;
  return head.every((byte) => byte >= 0x20 || (byte >= 9 && byte <= 13) || byte === 27);
}
