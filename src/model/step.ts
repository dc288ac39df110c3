import type { EnrichStep } from './step_schema.ts';

export const STEP_KINDS = ['validate', 'dedupe', 'enrich', 'lookup', 'drop', 'rename', 'pick', 'set'] as const;
export type StepKind = (typeof STEP_KINDS)[number];

/** Of an enrich step: POST where something is sent. */
export function enrichMethod({ method, send, batch }: EnrichStep): 'GET' | 'POST' | 'PUT' {
  return method ?? (send === undefined && batch === undefined ? 'GET' : 'POST');
}

/** How the counters and reasons name a step: `enrich[2]`. */
export function stepName(kind: StepKind, step: number): string {
  return `${kind}[${step}]`;
}
