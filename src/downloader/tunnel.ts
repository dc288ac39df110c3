import type { Socket } from 'node:net';

const MAX_HEAD = 16 * 1024;

/**
 * Asks a proxy to connect its end of the socket to another address (RFC 9110, 9.3.6). Afterwards the socket is as one that
 * was dialled.
 *
 * @param authority `address:port`
 * @param authorization value of Proxy-Authorization; null: none
 * @param signal gives up
 * @returns rejects with what went wrong as a message that follows the proxy's name
 */
export function openTunnel(
  socket: Socket,
  authority: string,
  authorization: string | null,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let head = '';
    const settle = (failure: string | null) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onClose);
      socket.off('readable', read).off('close', onClose).off('end', onClose);
      if (failure === null) resolve();
      else reject(new Error(failure));
    };
    const timer = setTimeout(() => settle(`did not answer CONNECT within ${timeoutMs} ms`), timeoutMs);
    const onClose = () => settle('closed the connection instead of answering CONNECT');
    const read = () => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null)
        if (head.length <= MAX_HEAD) head += chunk.toString('latin1');
      if (head.includes('\r\n\r\n')) settle(failureOf(head));
      else if (head.length > MAX_HEAD) settle('answered CONNECT with headers that do not end');
    };
    signal.addEventListener('abort', onClose);
    socket.on('readable', read).on('close', onClose).on('end', onClose);
    socket.write(requestOf(authority, authorization));
  });
}

function requestOf(authority: string, authorization: string | null): string {
  const credentials = authorization === null ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${credentials}\r\n`;
}

/** Null where the answer opens the tunnel. Whatever comes behind the headers of one that does is not the target's. */
function failureOf(head: string): string | null {
  const status = Number(/^HTTP\/1\.[01] (\d{3})[ \r]/.exec(head)?.[1] ?? 0);
  if (status === 0) return 'answered CONNECT with something else than HTTP';
  if (status === 407) return 'wants other credentials (status 407)';
  if (status === 403 || status === 405)
    return `answered CONNECT with status ${status}: it has to allow CONNECT to this address and port`;
  if (status < 200 || status >= 300) return `answered CONNECT with status ${status}`;
  return head.endsWith('\r\n\r\n') ? null : 'sent data before it was asked for any';
}
