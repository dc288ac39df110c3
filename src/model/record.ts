import { type Static, type TSchema, Type } from './type.ts';

interface RecordOptions {
  /** Characters of a name. */
  names?: { minLength?: number; maxLength?: number };
  maxProperties?: number;
  description?: string;
}

/**
 * Values by name. `Type.Record` knows its names by the regex `^.*$`, which none with a line break fits: their values would
 * go unchecked. It forgets the bounds of names as well.
 */
export function recordOf<T extends TSchema>(values: T, { names, ...options }: RecordOptions = {}) {
  return Type.Unsafe<Record<string, Static<T>>>({
    type: 'object',
    additionalProperties: values,
    ...(names === undefined ? {} : { propertyNames: names }),
    ...options,
  });
}
