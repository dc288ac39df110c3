import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { dueTicks, localTime, nextTicks, timingProblems, timingWarnings } from '../../dist/engine/cron.js';

const timing = (cron: string, timeZone = 'UTC', startAt: string | null = null, endAt: string | null = null) => ({
  cron,
  timeZone,
  startAt: startAt === null ? null : new Date(startAt),
  endAt: endAt === null ? null : new Date(endAt),
});

const runs = (cron: string, timeZone: string, after: string, n: number) =>
  nextTicks(timing(cron, timeZone), new Date(after), n).map((tick) => localTime(tick, timeZone));

describe('where the clocks change', () => {
  // [what, cron, zone, after, runs]
  const table: [string, string, string, string, string[]][] = [
    [
      'a fixed time in the lost hour is run when that is over',
      ...(['30 2 * * *', 'Europe/Berlin', '2026-03-27T12:00:00Z'] as const),
      ['2026-03-28T02:30:00+01:00', '2026-03-29T03:00:00+02:00', '2026-03-30T02:30:00+02:00'],
    ],
    [
      'a fixed time in the doubled hour is run once, the first time',
      ...(['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z'] as const),
      ['2026-10-25T02:30:00+02:00', '2026-10-26T02:30:00+01:00'],
    ],
    [
      'a run at intervals leaves the lost hour out',
      ...(['*/30 * * * *', 'Europe/Berlin', '2026-03-29T00:10:00Z'] as const),
      ['2026-03-29T01:30:00+01:00', '2026-03-29T03:00:00+02:00', '2026-03-29T03:30:00+02:00'],
    ],
    [
      'a run at intervals is made in both halves of the doubled hour',
      ...(['*/30 * * * *', 'Europe/Berlin', '2026-10-24T23:50:00Z'] as const),
      [
        '2026-10-25T02:00:00+02:00',
        '2026-10-25T02:30:00+02:00',
        '2026-10-25T02:00:00+01:00',
        '2026-10-25T02:30:00+01:00',
        '2026-10-25T03:00:00+01:00',
      ],
    ],
    [
      'a list of hours is a fixed time',
      ...(['15 2,14 * * *', 'America/New_York', '2026-03-08T05:00:00Z'] as const),
      ['2026-03-08T03:00:00-04:00', '2026-03-08T14:15:00-04:00', '2026-03-09T02:15:00-04:00'],
    ],
    [
      'New York goes back at two',
      ...(['30 1 * * *', 'America/New_York', '2026-11-01T03:00:00Z'] as const),
      ['2026-11-01T01:30:00-04:00', '2026-11-02T01:30:00-05:00'],
    ],
    [
      'half an hour is lost on Lord Howe',
      ...(['15 2 * * *', 'Australia/Lord_Howe', '2026-10-02T12:00:00Z'] as const),
      ['2026-10-03T02:15:00+10:30', '2026-10-04T02:30:00+11:00'],
    ],
    [
      'half an hour is doubled on Lord Howe',
      ...(['*/15 * * * *', 'Australia/Lord_Howe', '2026-04-04T14:20:00Z'] as const),
      [
        '2026-04-05T01:30:00+11:00',
        '2026-04-05T01:45:00+11:00',
        '2026-04-05T01:30:00+10:30',
        '2026-04-05T01:45:00+10:30',
        '2026-04-05T02:00:00+10:30',
      ],
    ],
    [
      'a zone of half an hour',
      ...(['0 6 * * MON', 'Asia/Kolkata', '2026-11-23T00:00:00Z'] as const),
      ['2026-11-23T06:00:00+05:30', '2026-11-30T06:00:00+05:30'],
    ],
    [
      'seconds, and UTC by default',
      ...(['*/20 * * * * *', 'UTC', '2026-11-23T00:00:01Z'] as const),
      ['2026-11-23T00:00:20Z', '2026-11-23T00:00:40Z', '2026-11-23T00:01:00Z'],
    ],
  ];
  for (const [what, cron, zone, after, expected] of table)
    it(`${what}: ${cron} in ${zone}`, () => assert.deepEqual(runs(cron, zone, after, expected.length), expected));

  for (const [what, cron, zone, after] of table)
    it(`looking back finds the same runs: ${what}`, () => {
      const ticks = nextTicks(timing(cron, zone), new Date(after), 40);
      const found = dueTicks(timing(cron, zone), ticks[0]!, ticks.at(-1)!, 100);
      assert.deepEqual(found, ticks);
    });
});

test('startAt is inside, endAt is not', () => {
  const bounded = timing('0 * * * *', 'UTC', '2026-11-23T05:00:00Z', '2026-11-23T07:00:00Z');
  const iso = (ticks: Date[]) => ticks.map((tick) => tick.toISOString().slice(11, 16));
  assert.deepEqual(iso(nextTicks(bounded, new Date('2026-11-22T00:00:00Z'))), ['05:00', '06:00']);
  assert.deepEqual(iso(nextTicks(bounded, new Date('2026-11-23T05:00:00Z'))), ['06:00']);
  assert.deepEqual(nextTicks(bounded, new Date('2026-11-23T06:00:00Z')), []);
  const due = dueTicks(bounded, new Date('2026-11-23T05:00:00Z'), new Date('2026-11-25T00:00:00Z'), 100);
  assert.deepEqual(iso(due), ['05:00', '06:00']);
});

test('of a year of missed minutes the last hundred are looked at', () => {
  const now = new Date('2026-11-23T00:00:30Z');
  const due = dueTicks(timing('* * * * *'), new Date('2025-11-23T00:00:00Z'), now, 100);
  assert.equal(due.length, 100);
  assert.equal(due.at(-1)?.toISOString(), '2026-11-23T00:00:00.000Z');
  assert.equal(due[0]?.toISOString(), '2026-11-22T22:21:00.000Z');
});

describe('what is wrong is said', () => {
  const now = new Date('2026-11-23T00:00:00Z');
  const table: [object, string, RegExp][] = [
    [{ cron: 'daily' }, '/cron bad_cron', /found "daily".*five fields.*"30 3 \* \* MON-FRI"/],
    [{ cron: '61 * * * *' }, '/cron bad_cron', /minute/],
    [{ cron: '* * * * * * 2027' }, '/cron bad_cron', /7 parts/],
    [{ cron: '0 0 30 2 *' }, '/cron bad_cron', /never fires: there is no such day/],
    [{ cron: '0 0 1 1 *', endAt: '2026-12-01T00:00:00Z' }, '/cron bad_cron', /never fires between/],
    [{ cron: '* * * * *', timeZone: 'Europe/Berlim' }, '/timeZone bad_time_zone', /did you mean Europe\/Berlin\?/],
    [{ cron: '* * * * *', timeZone: '+02:00' }, '/timeZone bad_time_zone', /of the IANA/],
    [{ cron: '* * * * *', startAt: '2026-12-01' }, '/startAt bad_format', /RFC 3339/],
    [{ cron: '* * * * *', endAt: '2026-13-01T00:00:00Z' }, '/endAt bad_format', /RFC 3339/],
    [
      { cron: '* * * * *', startAt: '2027-01-02T00:00:00Z', endAt: '2027-01-01T00:00:00Z' },
      '/endAt conflict',
      /not after/,
    ],
  ];
  for (const [input, where, message] of table)
    it(`${JSON.stringify(input)}: ${where}`, () => {
      const problems = timingProblems(input, now);
      assert.deepEqual(
        problems.map(({ pointer, code }) => `${pointer} ${code}`).filter((one) => one === where),
        [where],
      );
      assert.match(problems.find((one) => where.startsWith(one.pointer))!.message, message);
    });
  it('what is right has no problem', () => {
    for (const cron of ['@daily', '0 0 L * *', '0 0 * * FRI#2', '0 0 29 2 *', '*/5 * * * * *', '0 9 * JAN-MAR MON-FRI'])
      assert.deepEqual(timingProblems({ cron, timeZone: 'Asia/Calcutta' }, now), []);
  });
});

test('a schedule that fires within the minute is warned of', () => {
  const ticks = (cron: string) => nextTicks(timing(cron), new Date('2026-11-23T00:00:00Z'));
  assert.match(timingWarnings(ticks('*/10 * * * * *')).join(), /every 10 s/);
  assert.deepEqual(timingWarnings(ticks('* * * * *')), []);
  assert.deepEqual(timingWarnings([]), []);
});
