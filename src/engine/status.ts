import { VERSION } from '../model/settings.ts';
import type { ParserPool } from '../parser/pool.ts';
import type { Renderer } from '../renderer/renderer.ts';
import type { Engine } from './engine.ts';
import type { Metrics } from './metrics.ts';
import type { ScriptRunner } from './scripts.ts';

/** What is told of a node. */
export interface StatusParts {
  engine: Engine;
  metrics: Metrics;
  parser: ParserPool;
  threads: number;
  /** Null: scripts are off. */
  scripts: ScriptRunner | null;
  processes: number;
  /** Null: no page is rendered. */
  renderer: Pick<Renderer, 'pages' | 'busy' | 'version' | 'sandbox' | 'isRunning' | 'restarts'> | null;
}

/** What this node is and does at the moment: `GET /engine`. */
export function engineStatus({ engine, metrics, parser, threads, scripts, processes, renderer }: StatusParts) {
  const off = { enabled: false, boundary: null, processes: 0, busy: 0, kills: 0 };
  return {
    node: engine.nodeId,
    role: engine.role,
    version: VERSION,
    uptimeSeconds: Math.round(process.uptime() * 10) / 10,
    crawls: engine.crawls,
    hosts: engine.frontier.scheduler.hosts.size,
    fetches: engine.frontier.scheduler.inFlight,
    parser: { threads, busy: parser.busyThreads, kills: parser.kills },
    scripts:
      scripts === null
        ? off
        : {
            enabled: true,
            boundary: scripts.boundary,
            processes,
            busy: scripts.busyProcesses,
            kills: scripts.kills,
          },
    renderer:
      renderer === null
        ? { enabled: false, running: false, version: null, sandbox: null, pages: 0, busy: 0, restarts: 0 }
        : {
            enabled: true,
            running: renderer.isRunning,
            version: renderer.version,
            sandbox: renderer.sandbox,
            pages: renderer.pages,
            busy: renderer.busy,
            restarts: renderer.restarts,
          },
    eventLoopDelayMs: metrics.loopDelayMs,
  };
}
