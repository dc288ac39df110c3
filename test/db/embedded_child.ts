/** Starts the embedded server of a directory, prints its URL, and lives until it is killed. */
import { startEmbedded } from '../../dist/db/embedded.js';

const server = await startEmbedded({ dataDir: process.argv[2] ?? '' });
console.log(server.url);
setInterval(() => {}, 60_000);
