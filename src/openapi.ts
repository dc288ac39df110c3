import { describeApi } from './contract.ts';

/** Writes the OpenAPI document, made from the routes' own schemas, to stdout. */
async function printOpenapi(): Promise<void> {
  const app = await describeApi(false);
  process.stdout.write(app.swagger({ yaml: true }));
  await app.close();
}

await printOpenapi();
