// Protects the arithmetic of expiry: refresh and close delays as the reference's peers expect them, and nanoseconds that
// are never lost from a time that is only passed on.

import { create } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  closeDelayMs,
  compareTimestamps,
  earliest,
  formatTokenExpiry,
  isExpired,
  parseTokenExpiry,
  refreshDelayMs,
  registrationExpiry,
  registrationRefreshDelayMs,
  timestampFromEpochMs,
  timestampToEpochMs,
} from '../../../protocols/nsm/expiry.ts';
import { withSegment } from '../../../protocols/nsm/path.ts';
import { connectionOf } from './samples.ts';

const anyTimestamp = fc
  .record({
    seconds: fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n }),
    nanos: fc.integer({ min: 0, max: 999_999_999 }),
  })
  .map((init) => create(TimestampSchema, init));

describe('timestamps', () => {
  it('keep whole milliseconds both ways', () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }), (ms) => {
        expect(timestampToEpochMs(timestampFromEpochMs(ms))).toBeCloseTo(ms, 3);
        expect(Math.round(timestampToEpochMs(timestampFromEpochMs(ms)))).toBe(ms);
      }),
    );
  });

  it('have nanoseconds in range for times before 1970 too', () => {
    expect(timestampFromEpochMs(-1)).toMatchObject({ seconds: -1n, nanos: 999_000_000 });
  });

  it('compare to the nanosecond, and the earliest is the object that was given', () => {
    const early = create(TimestampSchema, { seconds: 5n, nanos: 1 });
    const late = create(TimestampSchema, { seconds: 5n, nanos: 2 });
    expect(compareTimestamps(early, late)).toBeLessThan(0);
    expect(earliest(undefined, late, early)).toBe(early);
    expect(earliest()).toBeUndefined();
  });
});

describe('the text form of a token expiry', () => {
  it('reads what it writes, to the nanosecond', () => {
    fc.assert(
      fc.property(anyTimestamp, (timestamp) => {
        expect(parseTokenExpiry(formatTokenExpiry(timestamp))).toEqual(timestamp);
      }),
    );
  });

  it('agrees with the platform on whole milliseconds', () => {
    fc.assert(
      fc.property(
        fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }),
        (date) => {
          expect(timestampToEpochMs(parseTokenExpiry(date.toISOString()))).toBeCloseTo(
            date.getTime(),
            3,
          );
        },
      ),
    );
  });

  it.each([
    ['2026-11-20T17:00:00Z', 1_795_194_000n, 0],
    ['2026-11-20T18:30:00.000000001+01:30', 1_795_194_000n, 1],
    ['2026-11-20T10:00:00.12-07:00', 1_795_194_000n, 120_000_000],
    ['0001-01-01T00:00:00Z', -62_135_596_800n, 0],
  ])('reads %s', (text, seconds, nanos) => {
    expect(parseTokenExpiry(text)).toMatchObject({ seconds, nanos });
  });

  it.each([
    '',
    'now',
    '2026-02-29T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01 00:00:00Z',
    '2026-01-01T00:00:00',
  ])('refuses %j', (text) => {
    expect(() => parseTokenExpiry(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});

describe('refreshDelayMs', () => {
  const at = (index: number, names = ['nsc', 'nsmgr', 'fwd', 'nse']) =>
    refreshDelayMs(connectionOf(names, index), 400_000);

  it('is a share of the shortest life that grows with the index', () => {
    expect(at(0)).toBeCloseTo(600_000 * 0.2);
    expect(at(2)).toBeCloseTo(600_000 * 0.3);
    expect(at(0, ['nsc'])).toBeCloseTo(200_000);
  });

  it('is at once where a segment has expired or says no expiry', () => {
    const connection = connectionOf(['nsc', 'nsmgr'], 0);
    expect(refreshDelayMs(connection, 2_000_000)).toBe(0);
    expect(refreshDelayMs(withSegment(connection, 1, { expires: undefined }), 0)).toBe(0);
  });
});

describe('closeDelayMs', () => {
  it('ends earlier by the deadline of the call, as the reference does', () => {
    expect(closeDelayMs({ expiresInMs: 600_000, callRemainingMs: 15_000 })).toBe(585_000);
    expect(closeDelayMs({ expiresInMs: 600_000, callRemainingMs: Infinity })).toBe(600_000);
  });

  it('never fires before two thirds of the life, nor after it', () => {
    const ms = fc.double({ min: -1e9, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(ms, ms, (expiresInMs, callRemainingMs) => {
        const delay = closeDelayMs({ expiresInMs, callRemainingMs });
        const life = Math.max(0, expiresInMs);
        expect(delay).toBeLessThanOrEqual(life);
        expect(delay).toBeGreaterThanOrEqual((life * 2) / 3 - 1e-3);
      }),
    );
  });
});

describe('registrations and tokens', () => {
  it('expire at the earliest of everything known, and refresh at two thirds', () => {
    const bounds = { nowEpochMs: 1000, defaultLifetimeMs: 60_000 };
    expect(timestampToEpochMs(registrationExpiry(bounds))).toBe(61_000);
    const present = create(TimestampSchema, { seconds: 30n, nanos: 7 });
    expect(registrationExpiry({ ...bounds, present, ownToken: timestampFromEpochMs(50_000) })).toBe(
      present,
    );
    expect(registrationRefreshDelayMs(60_000)).toBe(40_000);
    expect(registrationRefreshDelayMs(-1)).toBe(0);
  });

  it('are expired from the very moment on; without a time never', () => {
    expect(isExpired(timestampFromEpochMs(1000), 1000)).toBe(true);
    expect(isExpired(timestampFromEpochMs(1001), 1000)).toBe(false);
    expect(isExpired(undefined, Number.MAX_VALUE)).toBe(false);
  });
});
