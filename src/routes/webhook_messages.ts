/** The messages that webhooks send, as the OpenAPI document describes them: what its reader's endpoint receives. */

const ofComponent = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const object = (properties: Record<string, object>) => ({
  type: 'object',
  required: Object.keys(properties),
  properties,
});

const header = (name: string, description: string) => ({
  name,
  in: 'header',
  required: true,
  description,
  schema: { type: 'string' },
});
const HEADERS = [
  header('webhook-id', 'Of the message: the same for every try, so that one that comes twice can be told'),
  header('webhook-timestamp', 'When this try was sent, seconds since 1970'),
  header('webhook-signature', '`v1,` and the HMAC-SHA256 of id, timestamp and body, joined by full stops, in base64'),
];

function message(type: string, summary: string, data: Record<string, object>) {
  const schema = object({
    type: { type: 'string', const: type },
    timestamp: { type: 'string', format: 'date-time', description: 'Of the message, not of the try' },
    data: object(data),
  });
  const post = {
    summary,
    tags: ['webhooks'],
    parameters: HEADERS,
    requestBody: { required: true, content: { 'application/json': { schema } } },
    responses: {
      '2XX': { description: 'It was taken; any other status is a failure, and is tried again' },
      '410': { description: 'No more is wanted: the webhook ends' },
    },
  };
  return [type, { post }] as const;
}

const offset = { type: 'integer', minimum: 0 };
const crawl = { crawl: ofComponent('Crawl') };
const items = {
  crawl: object({ id: { type: 'string', format: 'uuid' }, spider: object({ name: { type: ['string', 'null'] } }) }),
  from: { ...offset, description: 'Offset of the first' },
  through: { ...offset, description: 'Offset of the last' },
  items: { type: 'array', minItems: 1, items: ofComponent('Item') },
};

export const WEBHOOK_MESSAGES = Object.fromEntries([
  message('crawl.started', 'A crawl has started', crawl),
  message('items.created', 'Items were committed', items),
  message('crawl.finished', 'A crawl has finished or was cancelled: see its state', crawl),
  message('crawl.failed', 'A crawl has failed: see its stopReason', crawl),
  message('webhook.test', 'A test, asked for by POST /webhooks/test', {}),
]);
