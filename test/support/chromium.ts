import { existsSync } from 'node:fs';

/** A Chromium of this machine; null where there is none. */
export const CHROMIUM = process.env.CHROMIUM_PATH || (existsSync('/usr/bin/chromium') ? '/usr/bin/chromium' : null);

/** For tests that need one: without it they are skipped, but where CI_SERVERS is 1 they fail. */
export const needsChromium = {
  skip: CHROMIUM === null && process.env.CI_SERVERS !== '1' ? 'no Chromium: set CHROMIUM_PATH' : false,
};
