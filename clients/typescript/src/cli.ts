#!/usr/bin/env node
/**
 * The command line. Exit codes: 0 what was asked for was done; 1 it was not (the crawl failed, the service refused or was not
 * there); 2 the command line is wrong; 130 interrupted.
 */
import { helpOf, nearest, readArgs, UsageError } from './cli/command.ts';
import { COMMANDS } from './cli/commands.ts';
import { PipeClosed } from './cli/output.ts';
import { say } from './cli/terminal.ts';
import { OrbweaverError } from './client.ts';
import { nothingListens } from './errors.ts';

async function main([name, ...rest]: string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(`${overview()}\n`);
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const near = nearest(name, Object.keys(COMMANDS));
    throw new UsageError(`there is no command ${name}${near === null ? '' : `; did you mean ${near}?`}`);
  }
  const args = readArgs(command, rest);
  if (!args.flag('help')) return command.run(args);
  process.stdout.write(`${helpOf(name, command)}\n`);
  return 0;
}

function overview(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)}  ${summary.split('. ')[0]}`);
  return [
    'orbweaver COMMAND [options]\n',
    ...rows,
    '\nORBWEAVER_URL and ORBWEAVER_API_KEY say where the service is. `orbweaver COMMAND --help` has the options, with examples.',
    'Exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted.',
  ].join('\n');
}

/** @returns the exit code */
function explain(error: unknown): number {
  if (error instanceof PipeClosed) return 0;
  const tell = (line: string) => say(process.stderr, line);
  if (error instanceof UsageError) {
    tell(`orbweaver: ${error.message}`);
    tell('orbweaver --help says more');
    return 2;
  }
  if (!(error instanceof OrbweaverError)) {
    tell(`orbweaver: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  if (nothingListens(error))
    tell(
      `orbweaver: no service there: ${error.message}. Start one (npm start), or say where it is: --url, ORBWEAVER_URL`,
    );
  else tell(`orbweaver: ${error.message} (${error.code})`);
  for (const { pointer, message } of error.problems) tell(`  ${pointer || '(body)'}  ${message}`);
  if (error.code === 'unauthorized') tell('  give --api-key, or ORBWEAVER_API_KEY');
  if ((error.status ?? 0) >= 500 && error.requestId !== null) tell(`  the service's log has it as ${error.requestId}`);
  return 1;
}

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)
  process.once(signal, () => process.exit(code));
process.exitCode = await main(process.argv.slice(2)).catch(explain);
