// The text form of a token's expiry in call metadata (`nsm-client-token-expires`): RFC 3339 with up to nine
// fractional digits and any zone offset, as Go writes it. Read and written without loss of nanoseconds.

import { create } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { NsmError } from '../errors.ts';

const rfc3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

const daySeconds = 86_400;

/** The moment that an RFC 3339 text names. Throws INVALID_ARGUMENT. */
export function parseTokenExpiry(text: string): Timestamp {
  const parts = text.length <= 64 ? rfc3339.exec(text) : null;
  if (parts === null) throw badExpiry(text);
  const part = (index: number): number => Number(parts[index] ?? 0);
  const [year, month, day] = [part(1), part(2), part(3)];
  const [hour, minute, second] = [part(4), part(5), part(6)];
  const offset = (part(9) * 60 + part(10)) * 60 * (parts[8] === '-' ? -1 : 1);
  const dateHolds = month >= 1 && month <= 12 && day >= 1 && day <= daysOfMonth(year, month);
  const timeHolds = hour < 24 && minute < 60 && second < 60 && part(9) < 24 && part(10) < 60;
  if (!dateHolds || !timeHolds) throw badExpiry(text);
  const seconds =
    daysSinceEpoch(year, month, day) * daySeconds + hour * 3600 + minute * 60 + second - offset;
  return create(TimestampSchema, {
    seconds: BigInt(seconds),
    nanos: Number((parts[7] ?? '').padEnd(9, '0')),
  });
}

/** RFC 3339 in UTC, with as many fractional digits as needed. The year must lie in 0..9999. */
export function formatTokenExpiry(timestamp: Timestamp): string {
  const total = Number(timestamp.seconds);
  const days = Math.floor(total / daySeconds);
  const rest = total - days * daySeconds;
  const { year, month, day } = civilFromDays(days);
  const time = [Math.floor(rest / 3600), Math.floor(rest / 60) % 60, rest % 60].map(two).join(':');
  const fraction = String(timestamp.nanos).padStart(9, '0').replace(/0+$/, '');
  const date = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
  return `${date}T${time}${fraction === '' ? '' : `.${fraction}`}Z`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

function daysOfMonth(year: number, month: number): number {
  if (month === 2) return isLeap(year) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days before `year` in the Gregorian calendar drawn out to year 0. */
function daysBeforeYear(year: number): number {
  const whole = year - 1;
  return year * 365 + Math.floor(whole / 4) - Math.floor(whole / 100) + Math.floor(whole / 400);
}

const daysBefore1970 = daysBeforeYear(1970);

function daysSinceEpoch(year: number, month: number, day: number): number {
  let days = daysBeforeYear(year) - daysBefore1970;
  for (let each = 1; each < month; each += 1) days += daysOfMonth(year, each);
  return days + day - 1;
}

function civilFromDays(days: number): { year: number; month: number; day: number } {
  let year = 1970 + Math.floor(days / 365.2425);
  while (daysBeforeYear(year) - daysBefore1970 > days) year -= 1;
  while (daysBeforeYear(year + 1) - daysBefore1970 <= days) year += 1;
  let rest = days - (daysBeforeYear(year) - daysBefore1970);
  let month = 1;
  while (rest >= daysOfMonth(year, month)) {
    rest -= daysOfMonth(year, month);
    month += 1;
  }
  return { year, month, day: rest + 1 };
}

function badExpiry(text: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the expiry of a token is not a time', {
    rule: 'nsm-client-token-expires',
    expected: 'RFC 3339, for example 2030-01-02T03:04:05.678901234Z',
    found: text.slice(0, 64),
  });
}
