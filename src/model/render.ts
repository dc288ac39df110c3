import type { Render } from './spider.ts';

const TIMEOUT_MS = 15_000;

/** How a browser makes the page of a response, with the defaults. */
export interface RenderPlan {
  /** CSS; null: the page is read once it has loaded and its network is quiet. */
  waitFor: string | null;
  timeoutMs: number;
  /** Kinds of subresources that are loaded besides scripts and data. */
  load: readonly RenderLoad[];
}
export type RenderLoad = 'image' | 'font' | 'media' | 'stylesheet';

/** Null: no browser is asked. */
export function renderPlan(render: Render | undefined): RenderPlan | null {
  if (render === undefined || render === false) return null;
  const { waitFor = null, timeoutMs = TIMEOUT_MS, load = ['stylesheet'] } = render === true ? {} : render;
  return { waitFor, timeoutMs, load };
}

/** A cookie on its way between a crawl's jar and a browser. */
export interface PlainCookie {
  name: string;
  value: string;
  /** With a leading dot it is sent to subdomains too. */
  domain: string;
  path: string;
  /** Seconds since the epoch; -1: it lasts as long as the crawl. */
  expires: number;
  httpOnly: boolean;
  secure: boolean;
  sameSite: 'Strict' | 'Lax' | 'None';
}
