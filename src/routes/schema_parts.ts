import { type TSchema, Type } from '../model/type.ts';

// What the schemas of answers are made of.

export const text = Type.String();
export const integer = Type.Integer();
export const time = Type.String({ format: 'date-time' });

export const orNull = <T extends TSchema>(schema: T, description?: string) =>
  Type.Union([schema, Type.Null()], description === undefined ? {} : { description });
