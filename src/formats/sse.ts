/** One server-sent event. @param data one line of JSON */
export function sseEvent(event: string, data: string, id?: number | string): string {
  return id === undefined ? `event: ${event}\ndata: ${data}\n\n` : `event: ${event}\nid: ${id}\ndata: ${data}\n\n`;
}
