/** What a script asks of the outside; the engine answers. One object per crawl and node. */
export interface ScriptCalls {
  /**
   * Fetches one hop for `ctx.fetch`: the caller has judged its scope and follows redirects itself. Politeness, robots, the
   * crawl's cookies and the egress guard hold; nothing of it is in the ledger.
   *
   * @throws CallFailed
   */
  fetch(call: FetchCall, signal: AbortSignal): Promise<FetchedCall>;
  /** Rows of a query on a named connection, as JSON text. @throws CallFailed */
  lookup(connection: string, query: string, params: readonly unknown[], signal: AbortSignal): Promise<string>;
  /** A value that the crawl's scripts have committed, as JSON text; null: none. Waits for a database that is away. */
  readState(key: string, signal: AbortSignal): Promise<string | null>;
}

export interface FetchCall {
  /** Canonical, http or https, inside the scope. */
  url: string;
  method: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: string | null;
}

/** What `ctx.fetch` came back with, whatever its status. */
export interface FetchedCall {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string | string[] | undefined>;
  /** Decoded; `bodyBytes` of it are in use. */
  body: SharedArrayBuffer;
  bodyBytes: number;
}

/** A call that came to nothing; scripts see `code` and `message` as an error that they may catch. */
export class CallFailed extends Error {
  /** A reason of the ledger (`timeout`, `egress`, `robots`, `offsite` …), `unknown_connection` or `bad_query`. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
