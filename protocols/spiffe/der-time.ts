// Times in certificates (RFC 5280 4.1.2.5): UTCTime to the year 2049, GeneralizedTime from 2050 on, both in seconds
// and in UTC. Read to milliseconds since 1970, without a clock.

import type { DerValue } from './der-reader.ts';
import { derError, derTag, readAscii } from './der-reader.ts';

const daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const;
const daysOfMonth = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

const isLeapYear = (year: number): boolean =>
  (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;

/** Errors: INVALID_ARGUMENT. */
export function readTime(value: DerValue, what: string): number {
  const text = readAscii(value.content, what);
  const isUtc = value.tag === derTag.utcTime;
  const pattern = isUtc ? /^\d{12}Z$/ : /^\d{14}Z$/;
  if ((!isUtc && value.tag !== derTag.generalizedTime) || !pattern.test(text)) {
    throw derError(what, 'a time in seconds that ends in Z', 'another');
  }
  const { year, month, day, hour, minute, second } = fields(text, isUtc);
  const isDay = month >= 1 && month <= 12 && day >= 1 && day <= monthLength(year, month);
  if (!isDay || hour > 23 || minute > 59 || second > 59) {
    throw derError(what, 'a time that exists', text);
  }
  return (((daysSince1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

function fields(text: string, isUtc: boolean) {
  const yearLength = isUtc ? 2 : 4;
  const two = (at: number): number => Number(text.slice(yearLength + at, yearLength + at + 2));
  const year = Number(text.slice(0, yearLength));
  return {
    // RFC 5280 4.1.2.5.1: two digits below 50 mean 20xx.
    year: isUtc ? year + (year < 50 ? 2000 : 1900) : year,
    month: two(0),
    day: two(2),
    hour: two(4),
    minute: two(6),
    second: two(8),
  };
}

function monthLength(year: number, month: number): number {
  return (daysOfMonth[month - 1] ?? 0) + (month === 2 && isLeapYear(year) ? 1 : 0);
}

function daysSince1970(year: number, month: number, day: number): number {
  const before = year - 1;
  const leapDays = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  // 719,162 days lie between 0001-01-01 and 1970-01-01.
  const startOfYear = before * 365 + leapDays - 719_162;
  const leapDay = month > 2 && isLeapYear(year) ? 1 : 0;
  return startOfYear + (daysBeforeMonth[month - 1] ?? 0) + leapDay + day - 1;
}
