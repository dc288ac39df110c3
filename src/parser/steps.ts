import type { DedupeKey, StepAnswer, StepQuestion } from '../model/outcome.ts';
import type { Spider } from '../model/spider.ts';
import { type StepKind, stepName } from '../model/step.ts';
import type { Step } from '../model/step_schema.ts';
import type { Data } from './extract.ts';
import { compilePure, keyOf, type PureStep } from './step_kinds.ts';
import { type AskingStep, compileEnrich, compileLookup } from './step_questions.ts';

/** How far an item came: through all steps, nowhere, or to a step that asks the outside. */
export type Passage =
  | { kind: 'kept'; data: Data; keys: DedupeKey[] }
  | { kind: 'dropped'; reason: string }
  | { kind: 'waits'; data: Data; keys: DedupeKey[]; step: number; question: StepQuestion };

/** An item's step failed, and its `onError` is `fail`: the page fails as `pipeline_error`. */
export class StepFailed extends Error {}

type CompiledStep = { type: string | null; name: string } & (
  | { kind: 'pure'; run: PureStep }
  | { kind: 'dedupe'; keyOf: (data: Data) => DedupeKey | null }
  | { kind: 'ask'; word: StepKind; asking: AskingStep; onError: 'keep' | 'drop' | 'fail' }
);

/**
 * The pipeline of a spider, compiled: what it does to one item. Pure; runs where a page is parsed, since schemas hold regexes.
 *
 * `ItemSink` takes it: `new ItemSink(compileSteps(definition))`, then `add` for each item, and `...sink.outcome()` into the
 * ParsedPage. Items that came to a step that asks the outside are in `pending`; the engine asks, and a `steps` job of the
 * parser pool goes on with the answers, whatever process the items came from.
 */
export class Steps {
  readonly #steps: readonly CompiledStep[];

  constructor(steps: readonly CompiledStep[]) {
    this.#steps = steps;
  }

  /**
   * Takes an item from step `from` as far as it comes. Its data is changed in place.
   *
   * @param note counts what a step met: `enrich[2]: no_value`
   * @throws StepFailed
   */
  run(type: string, data: Data, note: (key: string) => void, from = 0, keys: DedupeKey[] = []): Passage {
    for (let i = from; i < this.#steps.length; i++) {
      const step = this.#steps[i]!;
      if (step.type !== null && step.type !== type) continue;
      if (step.kind === 'pure') {
        const result = step.run(data);
        if ('dropped' in result) return { kind: 'dropped', reason: result.dropped };
        data = result.data;
      } else if (step.kind === 'dedupe') {
        const key = step.keyOf(data);
        if (key !== null) keys.push(key);
      } else {
        const question = step.asking.question(data);
        if (question !== null) return { kind: 'waits', data, keys, step: i, question };
        const dropped = this.#failed(step, 'no_value', note);
        if (dropped !== null) return dropped;
      }
    }
    return { kind: 'kept', data, keys };
  }

  /** Gives an item its answer and takes it on. @throws StepFailed */
  answer(
    type: string,
    data: Data,
    note: (key: string) => void,
    at: { step: number; keys: DedupeKey[] },
    answer: StepAnswer,
  ): Passage {
    const step = this.#steps[at.step];
    if (step?.kind !== 'ask') throw new Error(`step ${at.step} asks nothing`);
    const error = step.asking.take(data, answer);
    const detail = 'error' in answer ? answer.detail : undefined;
    const dropped = error === null ? null : this.#failed(step, error, note, detail);
    return dropped ?? this.run(type, data, note, at.step + 1, at.keys);
  }

  /** What `onError` says. @returns null: the item goes on without the fields */
  #failed(
    step: CompiledStep & { kind: 'ask' },
    error: string,
    note: (key: string) => void,
    detail?: string,
  ): Passage | null {
    switch (step.onError) {
      case 'keep':
        note(`${step.name}: ${error}`);
        return null;
      case 'drop':
        return { kind: 'dropped', reason: `${step.word}: ${error}` };
      case 'fail':
        throw new StepFailed(`${step.name}: ${error}${detail === undefined ? '' : ` (${detail})`}`);
    }
  }
}

/** The pipeline of a spider; null: it has none. @throws on what does not compile; `check_steps` says so before */
export function compileSteps({ pipeline }: Pick<Spider, 'pipeline'>): Steps | null {
  return pipeline === undefined || pipeline.length === 0 ? null : new Steps(pipeline.map(compileStep));
}

function compileStep(step: Step, number: number): CompiledStep {
  const type = step.type ?? null;
  const asking = (word: StepKind, compiled: AskingStep, onError: 'keep' | 'drop' | 'fail' = 'keep'): CompiledStep => ({
    ...{ type, name: stepName(word, number), kind: 'ask', word, asking: compiled, onError },
  });
  if (step.enrich !== undefined) return asking('enrich', compileEnrich(step.enrich), step.enrich.onError);
  if (step.lookup !== undefined) return asking('lookup', compileLookup(step.lookup), step.lookup.onError);
  if (step.dedupe !== undefined)
    return { type, name: stepName('dedupe', number), kind: 'dedupe', keyOf: (data) => keyOf(step, data) };
  const run = compilePure(step);
  if (run === null) throw new Error(`step ${number} has no kind`);
  return { type, name: `step[${number}]`, kind: 'pure', run };
}
