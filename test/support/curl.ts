import assert from 'node:assert/strict';

/** One call of curl, as a document shows it. */
export interface CurlCall {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | null;
}

/** The calls of curl in the `sh` blocks of a document, in order. @param variables what `$name` stands for */
export function curlCalls(markdown: string, variables: Readonly<Record<string, string>>): CurlCall[] {
  const blocks = [...markdown.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text]) => text!);
  return blocks.flatMap((block) =>
    commandsOf(block, variables)
      .filter(([name]) => name === 'curl')
      .map(([, ...words]) => callOf(words)),
  );
}

/** What a shell makes of a script: a list of words for each command. Only what the documents use is known. */
export function commandsOf(script: string, variables: Readonly<Record<string, string>>): string[][] {
  const commands: string[][] = [[]];
  const pattern = /\s+#[^\n]*|\\\n|\n|[^\S\n]+|((?:'[^']*'|"[^"]*"|[^\s'"\\]|\\.)+)/g;
  for (const [token, word] of script.matchAll(pattern)) {
    if (word !== undefined) commands.at(-1)!.push(unquoted(word, variables));
    else if (token.includes('\n') && token !== '\\\n') commands.push([]);
  }
  return commands.filter((words) => words.length > 0);
}

function unquoted(word: string, variables: Readonly<Record<string, string>>): string {
  const filled = (text: string) =>
    text.replace(/\$(\w+)/g, (_, name: string) => {
      const value = variables[name];
      assert.ok(value !== undefined, `an example uses $${name}, and nothing says what it stands for`);
      return value;
    });
  return word.replace(
    /'([^']*)'|"([^"]*)"|\\(.)|([^'"\\]+)/g,
    (_, single, double, escaped, plain) => single ?? escaped ?? filled(double ?? plain),
  );
}

function callOf(words: readonly string[]): CurlCall {
  const call: CurlCall = { method: '', url: '', headers: {}, body: null };
  const rest = [...words];
  const inQuery: string[] = [];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '>') rest.shift();
    else if (/^-[sNG]+$/.test(word)) continue;
    else if (word === '-X') call.method = rest.shift()!;
    else if (word === '-H') addHeader(call, rest.shift()!);
    else if (word === '-d') call.body = rest.shift()!;
    else if (word === '--data-urlencode') inQuery.push(encoded(rest.shift()!));
    else {
      assert.ok(!word.startsWith('-'), `curl ${word} is not known to this test`);
      call.url = word;
    }
  }
  call.method ||= call.body === null ? 'GET' : 'POST';
  if (inQuery.length > 0) call.url += `?${inQuery.join('&')}`;
  return call;
}

function addHeader(call: CurlCall, line: string): void {
  const [name, value] = line.split(/:\s*/, 2);
  call.headers[name!] = value!;
}

function encoded(pair: string): string {
  const at = pair.indexOf('=');
  return `${pair.slice(0, at)}=${encodeURIComponent(pair.slice(at + 1))}`;
}
