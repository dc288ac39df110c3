import type { Command } from './command.ts';
import { crawlCommand } from './crawl.ts';
import { changeCommand, listCommand, resumeCommand, statusCommand, tailCommand, whyCommand } from './crawls.ts';
import { previewCommand } from './preview.ts';

export const COMMANDS: Readonly<Record<string, Command>> = {
  crawl: crawlCommand,
  preview: previewCommand,
  tail: tailCommand,
  status: statusCommand,
  list: listCommand,
  why: whyCommand,
  cancel: changeCommand('cancel', 'Ends crawls; what was committed is kept.'),
  pause: changeCommand('pause', 'Lets the fetches under way end, and waits.'),
  resume: resumeCommand,
};
