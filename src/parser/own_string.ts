/** The same text as a string of its own: a slice of thirteen characters or more is a view, which keeps all of its source in memory. */
export function ownString(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le');
}
