/** What the thread of exports is started with. */
export interface DeliveryData {
  databaseUrl: string;
  nodeId: string;
  /** Absolute. */
  dataDir: string;
  /** URLs of the operator's connections, by name. */
  connections: ReadonlyMap<string, string>;
  /** CIDRs that webhooks may call besides public addresses. */
  webhookEgressAllow: readonly string[];
}

export type ToDelivery =
  /** An export may be due. */
  | { kind: 'look' }
  /** These crawls have something new. */
  | { kind: 'news'; crawlIds: string[] }
  /** Stop in order within this time. */
  | { kind: 'stop'; graceMs: number };

export type FromDelivery =
  /** The crawls whose news are wanted from now on. */
  | { kind: 'watch'; crawlIds: string[] }
  | { kind: 'totals'; totals: ExportTotals }
  | { kind: 'log'; detail: object; message: string }
  /** There has been nothing to do for a while. */
  | { kind: 'idle' };

/** By kind, of this node. */
export type ExportTotals = Record<string, KindTotals>;

export interface KindTotals {
  /** Open now. */
  active: number;
  /** Items that wait for them. */
  lag: number;
  /** Items written since the thread's start. */
  written: number;
  /** Tries that failed since then. */
  failures: number;
  /** Exports that ended as failed since then. */
  failed: number;
}
