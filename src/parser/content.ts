const HTML_TYPES = new Set(['text/html', 'application/xhtml+xml']);
/** Tags that the WHATWG sniffing rules take for HTML. */
const HTML_START =
  /^(?:<!doctype html|<(?:html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|meta|link|ul|ol|section|main|article|header|nav|span|form|img)[\s/>]|<!--)/i;
const SNIFF_BYTES = 1024;

/**
 * True for HTML: by its Content-Type, or where that is missing by how it begins. Binary data, XML, JSON and plain text are
 * never parsed as HTML. An empty body without a type counts as an empty page.
 */
export function isHtml(body: SharedArrayBuffer, length: number, contentType: string | null): boolean {
  const type = (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (type !== '' && type !== '*/*') return HTML_TYPES.has(type);
  const head = Buffer.from(body, 0, Math.min(length, SNIFF_BYTES)).toString('latin1');
  const text = head.replace(/^(?:\u00ef\u00bb\u00bf)?\s*(?:<\?xml[^>]*>\s*)?/, '');
  if (text === '') return true;
  return HTML_START.test(text) && !hasControls(text);
}

function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 9 && code !== 10 && code !== 12 && code !== 13 && code !== 27) return true;
  }
  return false;
}
