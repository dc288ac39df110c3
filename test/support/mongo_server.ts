/**
 * Speaks the wire protocol of MongoDB (OP_MSG, and OP_QUERY for the first hello) as far as exports use it: hello, ping,
 * `update` with replacements, `find` by `_id`. It is no MongoDB: what it says of documents is written from the manual.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { calculateObjectSize, type Document, deserialize, EJSON, serialize } from 'bson';

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;
const NESTING = 180;

/** What is done instead of answering: the answer, or to close the connection before or after the command was carried out. */
export type Fault = Document | 'close' | 'lose' | 'hang' | null;

export interface MongoServer {
  /** Of a database `shop`. */
  url: string;
  port: number;
  /** By collection, in the order in which they came. */
  documents(collection: string): Document[];
  put(collection: string, document: Document): void;
  /** A field of a collection with a unique index. */
  unique: Map<string, string>;
  /** Asked for each command but hello. */
  fault: (command: string, body: Document) => Fault;
  /** Added to the answer to hello. */
  hello: Document;
  /** Commands, by name. */
  readonly commands: Document[];
  readonly connections: number;
  close(): Promise<void>;
}

/** Starts one on a free port of 127.0.0.1. @param maxBytes of a document */
export async function startMongoServer(maxBytes = 2 * 1024 * 1024): Promise<MongoServer> {
  const collections = new Map<string, Map<string, Document>>();
  const sockets = new Set<Socket>();
  const of = (name: string) => {
    const found = collections.get(name) ?? new Map<string, Document>();
    collections.set(name, found);
    return found;
  };
  const listener: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    readMessages(socket, (id, body, isQuery) => answer(socket, id, body, isQuery));
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;

  const server: MongoServer = {
    url: `mongodb://127.0.0.1:${port}/shop?serverSelectionTimeoutMS=1500&heartbeatFrequencyMS=500`,
    port,
    documents: (name) => [...of(name).values()],
    put: (name, document) => of(name).set(keyOf(document._id), document),
    unique: new Map(),
    fault: () => null,
    hello: {},
    commands: [],
    get connections() {
      return sockets.size;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      listener.close();
      await once(listener, 'close');
    },
  };

  function answer(socket: Socket, id: number, body: Document, isQuery: boolean): void {
    const [name = ''] = Object.keys(body);
    if (/^(hello|ismaster)$/i.test(name)) {
      send(socket, id, { ...greeting(maxBytes), ...server.hello }, isQuery);
      return;
    }
    server.commands.push(body);
    const fault = server.fault(name, body);
    if (fault === 'hang') return;
    if (fault === 'close') {
      socket.destroy();
      return;
    }
    const reply = fault !== null && typeof fault === 'object' ? fault : carryOut(name, body);
    if (fault === 'lose') socket.destroy();
    else send(socket, id, reply, isQuery);
  }

  function carryOut(name: string, body: Document): Document {
    switch (name) {
      case 'ping':
      case 'endSessions':
        return { ok: 1 };
      case 'find':
        return find(of(body.find), body);
      case 'update':
        return update(of(body.update), body.updates, server.unique.get(body.update));
      default:
        return { ok: 0, code: 59, codeName: 'CommandNotFound', errmsg: `no such command: '${name}'` };
    }
  }
  return server;
}

function keyOf(id: unknown): string {
  return EJSON.stringify(id as Document, { relaxed: false });
}

function greeting(maxBytes: number): Document {
  return {
    ...{
      helloOk: true,
      ismaster: true,
      isWritablePrimary: true,
      readOnly: false,
      minWireVersion: 0,
      maxWireVersion: 21,
    },
    ...{ maxBsonObjectSize: maxBytes, maxMessageSizeBytes: 48_000_000, maxWriteBatchSize: 100_000 },
    ...{ localTime: new Date(), logicalSessionTimeoutMinutes: 30, connectionId: 1, ok: 1 },
  };
}

function find(documents: ReadonlyMap<string, Document>, { find: name, filter, $db }: Document): Document {
  const ids: unknown[] = filter._id.$in;
  const firstBatch = ids.flatMap((id) => documents.get(keyOf(id)) ?? []);
  return { cursor: { id: 0n, ns: `${$db}.${name}`, firstBatch }, ok: 1 };
}

function update(documents: Map<string, Document>, updates: Document[], unique: string | undefined): Document {
  if (updates.some(({ u }) => depth(u) > NESTING))
    return { ok: 0, code: 15, codeName: 'Overflow', errmsg: 'BSONObj exceeds maximum nested object depth: 180' };
  const writeErrors: Document[] = [];
  const upserted: Document[] = [];
  let n = 0;
  for (const [index, { q, u, upsert }] of updates.entries()) {
    const key = keyOf(q._id);
    const there = documents.get(key);
    const met = [...documents].find(
      ([id, one]) => id !== key && unique !== undefined && one.data[unique] === u.data[unique],
    );
    const newer = (q.$nor as Document[]).some(
      (not) => there !== undefined && there.crawl === not.crawl && there.offset > not.offset.$gt,
    );
    if (met !== undefined) writeErrors.push(duplicate(index, `data.${unique}_1`));
    else if (newer && upsert) writeErrors.push(duplicate(index, '_id_'));
    else {
      n++;
      if (there === undefined) upserted.push({ index, _id: q._id });
      documents.set(key, { _id: q._id, ...u });
    }
  }
  return { n, nModified: n - upserted.length, upserted, ...(writeErrors.length > 0 ? { writeErrors } : {}), ok: 1 };
}

function duplicate(index: number, name: string): Document {
  return { index, code: 11000, errmsg: `E11000 duplicate key error collection: shop.x index: ${name} dup key: { }` };
}

function depth(value: unknown): number {
  let deepest = 0;
  const open: [unknown, number][] = [[value, 1]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [one, at] = next;
    if (typeof one !== 'object' || one === null) continue;
    deepest = Math.max(deepest, at);
    for (const inner of Object.values(one)) open.push([inner, at + 1]);
  }
  return deepest;
}

/** https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/ */
function readMessages(socket: Socket, onMessage: (id: number, body: Document, isQuery: boolean) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 16 && rest.length >= rest.readInt32LE(0)) {
      const message = rest.subarray(0, rest.readInt32LE(0));
      rest = rest.subarray(message.length);
      const isQuery = message.readInt32LE(12) === OP_QUERY;
      onMessage(message.readInt32LE(4), isQuery ? queryBody(message) : messageBody(message), isQuery);
    }
  });
}

/** Flags, the collection's name, two numbers, then the document. */
function queryBody(message: Buffer): Document {
  return deserialize(message.subarray(message.indexOf(0, 20) + 1 + 8));
}

/** Sections: a document, and lists of documents under a name. */
function messageBody(message: Buffer): Document {
  let body: Document = {};
  const lists: Document = {};
  for (let at = 20; at < message.length; ) {
    const size = message.readInt32LE(at + 1);
    if (message[at] === 0) body = deserialize(message.subarray(at + 1, at + 1 + size));
    else {
      const end = message.indexOf(0, at + 5);
      const list: Document[] = [];
      for (let from = end + 1; from < at + 1 + size; from += message.readInt32LE(from))
        list.push(deserialize(message.subarray(from, from + message.readInt32LE(from))));
      lists[message.toString('utf8', at + 5, end)] = list;
    }
    at += 1 + size;
  }
  return { ...body, ...lists };
}

function send(socket: Socket, id: number, document: Document, isReply: boolean): void {
  const head = Buffer.alloc(16 + (isReply ? 20 : 5));
  head.writeInt32LE(head.length + calculateObjectSize(document), 0);
  head.writeInt32LE(id, 8);
  head.writeInt32LE(isReply ? OP_REPLY : OP_MSG, 12);
  if (isReply) head.writeInt32LE(1, 32);
  socket.write(Buffer.concat([head, serialize(document)]));
}
