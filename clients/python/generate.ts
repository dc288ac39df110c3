/** Writes orbweaver.py, the Python client: the types and calls of openapi.yaml behind runtime.py. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parse } from 'yaml';

interface Schema {
  $ref?: string;
  description?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
}
interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
}
interface Operation {
  summary?: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}
interface Contract {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

const KEYWORDS = new Set(
  'False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield'.split(
    ' ',
  ),
);
const PLAIN: Readonly<Record<string, string>> = {
  string: 'str',
  integer: 'int',
  number: 'float',
  boolean: 'bool',
  null: 'None',
  object: 'Dict[str, Any]',
  array: 'List[Any]',
};

/** Makes types of schemas; objects become classes, which are gathered. */
class Types {
  readonly classes: string[] = [];
  readonly #taken = new Set<string>();

  /** @param name of the class, where the schema needs one */
  typeOf(schema: Schema, name: string): string {
    const { $ref, anyOf, enum: words, type, items, properties, additionalProperties } = schema;
    if ($ref !== undefined) return $ref.split('/').at(-1)!;
    if (anyOf !== undefined) return union(anyOf.map((one, i) => this.typeOf(one, `${name}${i === 0 ? '' : i + 1}`)));
    if (schema.const !== undefined) return literal([schema.const]);
    if (words !== undefined) return literal(words);
    if (Array.isArray(type)) return union(type.map((one) => this.typeOf({ ...schema, type: one }, name)));
    if (properties !== undefined) return this.#object(schema, name);
    if (typeof additionalProperties === 'object')
      return `Dict[str, ${this.typeOf(additionalProperties, `${name}Value`)}]`;
    if (items !== undefined) return `List[${this.typeOf(items, `${name}Item`)}]`;
    return type === undefined ? 'Any' : PLAIN[type]!;
  }

  #object({ properties = {}, required = [], description }: Schema, wanted: string): string {
    let name = wanted;
    for (let n = 2; this.#taken.has(name); n++) name = `${wanted}${n}`;
    this.#taken.add(name);
    const members = Object.entries(properties).map(([key, schema]) => {
      const type = this.typeOf(schema, `${name}${pascal(key)}`);
      return [key, required.includes(key) ? type : `NotRequired[${type}]`] as const;
    });
    if (members.some(([key]) => !isName(key))) {
      const pairs = members.map(([key, type]) => `${JSON.stringify(key)}: ${JSON.stringify(type)}`);
      this.classes.push(`${name} = TypedDict("${name}", {${pairs.join(', ')}})`);
    } else {
      const lines = members.map(([key, type]) => `    ${key}: ${type}`);
      this.classes.push(
        [`class ${name}(TypedDict):`, ...docOf(description), ...(lines.length > 0 ? lines : ['    pass'])].join('\n'),
      );
    }
    return name;
  }
}

const isName = (word: string) => /^[A-Za-z_]\w*$/.test(word) && !KEYWORDS.has(word);
const union = (types: string[]) => {
  const all = [...new Set(types)];
  return all.length === 1 ? all[0]! : `Union[${all.join(', ')}]`;
};
const literal = (values: unknown[]) =>
  `Literal[${values.map((v) => (v === null ? 'None' : pythonValue(v))).join(', ')}]`;
const pythonValue = (value: unknown) =>
  typeof value === 'boolean' ? (value ? 'True' : 'False') : JSON.stringify(value);
const words = (text: string) => text.match(/[A-Za-z0-9]+/g) ?? [];
const pascal = (text: string) =>
  words(text)
    .map((word) => word[0]!.toUpperCase() + word.slice(1))
    .join('');
const snake = (text: string) =>
  words(text)
    .map((word) => word.replace(/[A-Z]/g, '_$&').toLowerCase())
    .join('_');
const docOf = (text: string | undefined) =>
  text === undefined
    ? []
    : [`    """${text.replaceAll('\\', '\\\\').replaceAll('"""', "'''").replace(/"$/, '" ')}"""`, ''];

/** `get_crawls_id_items`: the method and the path. */
const nameOf = (method: string, path: string) => snake(`${method} ${path}`).replaceAll(/_+/g, '_');

/** A method of the client. */
function methodOf(types: Types, method: string, path: string, operation: Operation): string {
  const name = nameOf(method, path);
  const parameters = operation.parameters ?? [];
  const of = (place: Parameter['in']) => parameters.filter((one) => one.in === place);
  const body = operation.requestBody?.content['application/json']?.schema;
  const keywords = [...of('query'), ...of('header')].map((one) => {
    const type = types.typeOf(one.schema, pascal(`${name} ${one.name}`));
    return `${argumentOf(one.name)}: ${one.required ? type : `Optional[${type}] = None`}`;
  });
  const list = [
    'self',
    ...of('path').map((one) => `${argumentOf(one.name)}: str`),
    ...(body === undefined ? [] : [bodyArgument(types.typeOf(body, pascal(`${name} body`)))]),
    ...(keywords.length > 0
      ? ['*', ...keywords.sort((a, b) => Number(a.includes(' = ')) - Number(b.includes(' = ')))]
      : []),
  ];
  const { accept, type } = answerOf(types, name, operation);
  const dict = (place: Parameter['in']) =>
    `{${of(place)
      .map((one) => `"${one.name}": ${argumentOf(one.name)}`)
      .join(', ')}}`;
  const quoted = path.replaceAll(/\{(\w+)\}/g, (_, id: string) => `{urllib.parse.quote(${argumentOf(id)}, safe='')}`);
  const sent = body === undefined ? 'None' : 'body';
  const call = `self._call("${method.toUpperCase()}", f"${quoted}", ${dict('query')}, ${dict('header')}, ${sent}, "${accept}")`;
  return [
    `    def ${name}(${list.join(', ')}) -> ${type}:`,
    ...docOf(operation.summary)
      .map((line) => (line === '' ? '' : `    ${line}`))
      .filter((line) => line !== ''),
    type === 'None'
      ? `        ${call}`
      : `        return cast(${type.includes('[') ? `"${type.replaceAll('"', "'")}"` : type}, ${call})`,
  ].join('\n');
}

/** A body that may be null may be left out. */
const bodyArgument = (type: string) => `body: ${type}${/\bNone\b/.test(type) ? ' = None' : ''}`;
const argumentOf = (name: string) => (KEYWORDS.has(snake(name)) ? `${snake(name)}_` : snake(name));

/** What a call gives: JSON where it has that, else text; nothing after 204. */
function answerOf(types: Types, name: string, { responses }: Operation): { accept: string; type: string } {
  const [, answer] = Object.entries(responses).find(([status]) => status.startsWith('2')) ?? [];
  const json = answer?.content?.['application/json']?.schema;
  if (json !== undefined) return { accept: 'application/json', type: types.typeOf(json, pascal(`${name} answer`)) };
  const text = Object.keys(answer?.content ?? {})[0];
  return text === undefined ? { accept: 'application/json', type: 'None' } : { accept: text, type: 'str' };
}

/** @param contract openapi.yaml. @param runtime runtime.py */
export function pythonClient(contract: string, runtime: string): string {
  const { paths, components } = parse(contract) as Contract;
  const types = new Types();
  for (const [name, schema] of Object.entries(components.schemas)) {
    const type = types.typeOf(schema, name);
    if (type !== name) types.classes.push(`${name} = ${type}`);
  }
  const methods = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => methodOf(types, method, path, operation)),
  );
  const client = `class Orbweaver(Transport):\n    """Every call of the API. Each raises OrbweaverError."""\n\n${methods.join('\n\n')}\n`;
  return `${runtime.trimEnd()}\n\n\n${types.classes.join('\n\n\n')}\n\n\n${client}`;
}

if (import.meta.main) {
  const at = (path: string) => new URL(path, import.meta.url);
  const text = pythonClient(readFileSync(at('../../openapi.yaml'), 'utf8'), readFileSync(at('runtime.py'), 'utf8'));
  writeFileSync(at('orbweaver.py'), text);
}
