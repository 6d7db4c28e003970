// SPIFFE IDs and trust domain names, by the SPIFFE-ID specification sections 2.1 to 2.4.
// NSM concept: every workload, manager, forwarder and registry has one; authorization is about them.
// Invariant: a parsed id is exactly the text it came from; nothing is normalised, so that two ids are equal where
// their texts are.

import { NsmError } from '../errors.ts';

export interface SpiffeId {
  /** The whole id: `spiffe://example.org/ns/default/pod/a`. */
  readonly text: string;
  /** Name only, without the scheme: `example.org`. */
  readonly trustDomain: string;
  /** Empty, or begins with a slash. Never empty for a workload. */
  readonly path: string;
}

/** Specification 2.3. All characters that are allowed are ASCII, so bytes are characters. */
const spiffeIdLengthMax = 2048;
const trustDomainLengthMax = 255;

const scheme = 'spiffe://';
const trustDomainPattern = /^[a-z0-9._-]+$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;

/** Errors: INVALID_ARGUMENT with the rule that is broken. */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length > spiffeIdLengthMax) {
    throw refuse('length', `at most ${spiffeIdLengthMax} bytes`, `${text.length}`);
  }
  if (!text.startsWith(scheme)) throw refuse('scheme', 'spiffe:// in lower case', text);
  const slash = text.indexOf('/', scheme.length);
  const trustDomain = checkTrustDomain(text.slice(scheme.length, slash < 0 ? undefined : slash));
  const path = slash < 0 ? '' : text.slice(slash);
  if (path !== '') checkPath(path);
  return { text, trustDomain, path };
}

/** The id of a workload: its path is not empty. Errors: INVALID_ARGUMENT. */
export function parseWorkloadId(text: string): SpiffeId {
  const id = parseSpiffeId(text);
  if (id.path === '') throw refuse('path', 'a workload to have a path', text);
  return id;
}

/** A trust domain's name, given as the name or as its SPIFFE ID. Errors: INVALID_ARGUMENT. */
export function parseTrustDomain(text: string): string {
  if (!text.startsWith(scheme)) return checkTrustDomain(text);
  const { trustDomain, path } = parseSpiffeId(text);
  if (path !== '') throw refuse('path', 'the id of a trust domain to have no path', text);
  return trustDomain;
}

/** The form that keys the bundles of the Workload API. */
export const trustDomainId = (trustDomain: string): string => `${scheme}${trustDomain}`;

function checkTrustDomain(name: string): string {
  if (name.length > trustDomainLengthMax) {
    throw refuse('trust-domain', `at most ${trustDomainLengthMax} bytes`, `${name.length}`);
  }
  if (!trustDomainPattern.test(name)) {
    throw refuse('trust-domain', 'a name of a-z, 0-9, dot, dash and underscore', name);
  }
  return name;
}

function checkPath(path: string): void {
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') throw refuse('path', 'no empty segment and no slash at the end', path);
    if (segment === '.' || segment === '..') throw refuse('path', 'no relative segment', path);
    if (!segmentPattern.test(segment)) {
      throw refuse('path', 'segments of letters, digits, dot, dash and underscore', path);
    }
  }
}

function refuse(part: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'not a SPIFFE ID', {
    rule: `spiffe-id-${part}`,
    expected,
    found: JSON.stringify(found.slice(0, 200)),
  });
}
