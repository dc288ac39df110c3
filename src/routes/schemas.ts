import type { FastifySchemaCompiler } from 'fastify';
import { ApiError, fieldsAre } from '../errors.ts';
import { compile, type Schema } from '../model/fits.ts';
import type { Problem } from '../model/spider.ts';
import { COMPONENTS } from './components.ts';
import { bodyProblem, explain } from './validate.ts';

/**
 * Bodies are taken as they are, and refused with every bad field at once. Queries are text, so a whole number or a
 * boolean is read where the schema asks for one, and nothing else is converted.
 */
export const compileSchema: FastifySchemaCompiler<unknown> = ({ schema, httpPart }) => {
  const resolved = resolve(schema as Schema & { $ref?: string });
  const fits = compile(resolved);
  return (given: unknown) => {
    const unread = httpPart === 'body' ? bodyProblem(given) : null;
    if (unread !== null) return { error: invalid([unread]) };
    const value = httpPart === 'body' ? given : readText(resolved, given);
    if (fits(value)) return { value };
    return {
      error: invalid(explain(resolved, value, httpPart === 'body' ? '' : '?').map((one) => place(one, httpPart))),
    };
  };
};

/** `?name` names a query parameter, `name:` a header. */
function place(problem: Problem, httpPart: string | undefined): Problem {
  return httpPart === 'headers' ? { ...problem, pointer: `${problem.pointer.slice(1)}:` } : problem;
}

function resolve(schema: Schema & { $ref?: string }): Schema {
  if (schema.$ref === undefined) return schema;
  const component = COMPONENTS[schema.$ref.replace('#', '')];
  if (component === undefined) throw new Error(`there is no component ${schema.$ref}`);
  return component as Schema;
}

function readText(schema: Schema, given: unknown): unknown {
  const entries = Object.entries(given as Record<string, unknown>).map(([key, text]) => {
    const type = schema.properties?.[key]?.type;
    if (type === 'integer' && typeof text === 'string' && /^-?\d{1,15}$/.test(text)) return [key, Number(text)];
    if (type === 'boolean' && (text === 'true' || text === 'false')) return [key, text === 'true'];
    return [key, typeof text === 'string' ? text.replaceAll('\0', '\ufffd') : text];
  });
  return Object.fromEntries(entries);
}

/** @param problems as found; none means that only the compiled schema knows */
export function invalid(problems: Problem[]): ApiError {
  const all: Problem[] =
    problems.length > 0 ? problems : [{ pointer: '', code: 'invalid', message: 'it does not fit the schema' }];
  return new ApiError('invalid_request', `${fieldsAre(all.length)} not valid; nothing was done`, all);
}
