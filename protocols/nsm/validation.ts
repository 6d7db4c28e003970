// The checks that message validation is made of: one bound each, one error each, naming field, expectation and finding.
// Places are named as in the .proto files, for example `connection.path.path_segments[1].token`.

import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { parsePrefix } from '../ipam/address.ts';
import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';

/** An INVALID_ARGUMENT naming the place. */
export function invalid(
  message: string,
  details: { rule: string; expected: string; found: string; remedy?: string },
): NsmError {
  return new NsmError('INVALID_ARGUMENT', message, details);
}

export function checkText(text: string, max: number, where: string): void {
  if (text.length > max) {
    throw invalid('a text of the message is too long', {
      rule: where,
      expected: `at most ${max} characters`,
      found: `${text.length}`,
    });
  }
}

export function checkCount(count: number, max: number, where: string): void {
  if (count > max) {
    throw invalid('the message has too many entries in one place', {
      rule: where,
      expected: `at most ${max}`,
      found: `${count}`,
    });
  }
}

/** A list of texts. */
export function checkTexts(
  texts: readonly string[],
  bounds: { readonly count: number; readonly length: number },
  where: string,
): void {
  checkCount(texts.length, bounds.count, where);
  for (let index = 0; index < texts.length; index += 1) {
    const text = texts[index] ?? '';
    if (text.length > bounds.length) checkText(text, bounds.length, `${where}[${index}]`);
  }
}

/** A map of texts: labels, parameters, metrics, selectors. */
export function checkTextMap(map: Readonly<Record<string, string>>, where: string): void {
  const keys = Object.keys(map);
  checkCount(keys.length, limits.mapEntries, where);
  for (const key of keys) {
    if (key.length > limits.mapKeyLength) {
      checkText(key, limits.mapKeyLength, `${where}, key ${key.slice(0, 40)}...`);
    }
    const value = map[key] ?? '';
    if (value.length > limits.mapValueLength) {
      checkText(value, limits.mapValueLength, `${where}.${key}`);
    }
  }
}

// google/protobuf/timestamp.proto: from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z.
const secondsMin = -62_135_596_800n;
const secondsMax = 253_402_300_799n;

export function checkTimestamp(timestamp: Timestamp | undefined, where: string): void {
  if (timestamp === undefined) return;
  const { seconds, nanos } = timestamp;
  if (seconds >= secondsMin && seconds <= secondsMax && nanos >= 0 && nanos <= 999_999_999) return;
  throw invalid('a time of the message lies outside the years 1 to 9999', {
    rule: where,
    expected: `seconds ${secondsMin}..${secondsMax}, nanos 0..999999999`,
    found: `seconds ${seconds}, nanos ${nanos}`,
  });
}

/** A list of addresses or prefixes in CIDR form; a bare address counts as a host prefix. */
export function checkPrefixes(texts: readonly string[], where: string): void {
  checkCount(texts.length, limits.listEntries, where);
  for (let index = 0; index < texts.length; index += 1) {
    checkPrefix(texts[index] ?? '', `${where}[${index}]`);
  }
}

export function checkPrefix(text: string, where: string): void {
  if (text.length <= limits.addressLength && parsePrefix(text) !== undefined) return;
  throw invalid('a text is not an IP prefix', {
    rule: where,
    expected: 'CIDR form, for example 10.0.0.1/32 or 2001:db8::1/128',
    found: JSON.stringify(text.slice(0, limits.addressLength)),
  });
}
