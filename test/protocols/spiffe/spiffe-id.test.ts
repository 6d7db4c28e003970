// Protects what counts as a SPIFFE ID: the rules of the SPIFFE-ID specification, one row each, and that an id that
// was accepted is the text it came from.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import {
  parseSpiffeId,
  parseTrustDomain,
  parseWorkloadId,
  trustDomainId,
} from '../../../protocols/spiffe/spiffe-id.ts';

const longest = `spiffe://${'a'.repeat(255)}/`.padEnd(2048, 'b');

describe('a SPIFFE ID', () => {
  it.each([
    ['spiffe://example.org', 'example.org', ''],
    ['spiffe://example.org/a', 'example.org', '/a'],
    ['spiffe://example.org/ns/default/pod/a-1', 'example.org', '/ns/default/pod/a-1'],
    ['spiffe://10.0.0.1/a', '10.0.0.1', '/a'],
    ['spiffe://a_b-c.9/A.b_c-D', 'a_b-c.9', '/A.b_c-D'],
    ['spiffe://-/...', '-', '/...'],
    ['spiffe://nsm.cluster1/ns/nsm/pod/.x', 'nsm.cluster1', '/ns/nsm/pod/.x'],
    [longest, 'a'.repeat(255), longest.slice(264)],
  ])('%s', (text, trustDomain, path) => {
    expect(parseSpiffeId(text)).toEqual({ text, trustDomain, path });
  });

  it.each([
    ['', 'scheme'],
    ['example.org/a', 'scheme'],
    ['https://example.org/a', 'scheme'],
    ['SPIFFE://example.org/a', 'scheme'],
    ['spiffe:/example.org/a', 'scheme'],
    [' spiffe://example.org/a', 'scheme'],
    ['spiffe://', 'trust-domain'],
    ['spiffe:///a', 'trust-domain'],
    ['spiffe://Example.org/a', 'trust-domain'],
    ['spiffe://example.org:443/a', 'trust-domain'],
    ['spiffe://user@example.org/a', 'trust-domain'],
    ['spiffe://[::1]/a', 'trust-domain'],
    ['spiffe://ex%61mple.org/a', 'trust-domain'],
    ['spiffe://exämple.org/a', 'trust-domain'],
    ['spiffe://example.org?a', 'trust-domain'],
    [`spiffe://${'a'.repeat(256)}/a`, 'trust-domain'],
    ['spiffe://example.org/', 'path'],
    ['spiffe://example.org/a/', 'path'],
    ['spiffe://example.org//a', 'path'],
    ['spiffe://example.org/a//b', 'path'],
    ['spiffe://example.org/.', 'path'],
    ['spiffe://example.org/a/../b', 'path'],
    ['spiffe://example.org/%61', 'path'],
    ['spiffe://example.org/a b', 'path'],
    ['spiffe://example.org/a?b=c', 'path'],
    ['spiffe://example.org/a#b', 'path'],
    ['spiffe://example.org/ä', 'path'],
    ['spiffe://example.org/a\0', 'path'],
    ['spiffe://example.org/a\n', 'path'],
    [`${longest}b`, 'length'],
  ])('is not %j', (text, part) => {
    const rule = `spiffe-id-${part}`;
    expect(() => parseSpiffeId(text)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ rule }),
      }),
    );
  });

  it('of a workload has a path, that of a trust domain has none', () => {
    expect(parseWorkloadId('spiffe://example.org/a').path).toBe('/a');
    expect(() => parseWorkloadId('spiffe://example.org')).toThrow(NsmError);
    expect(parseTrustDomain('example.org')).toBe('example.org');
    expect(parseTrustDomain(trustDomainId('example.org'))).toBe('example.org');
    expect(() => parseTrustDomain('spiffe://example.org/a')).toThrow(NsmError);
    expect(() => parseTrustDomain('')).toThrow(NsmError);
  });

  it('made of allowed parts is accepted, and is its parts', () => {
    const segment = fc
      .stringMatching(/^[A-Za-z0-9._-]{1,30}$/)
      .filter((text) => text !== '.' && text !== '..');
    const domain = fc.stringMatching(/^[a-z0-9._-]{1,60}$/);
    fc.assert(
      fc.property(domain, fc.array(segment, { maxLength: 8 }), (trustDomain, segments) => {
        const path = segments.map((one) => `/${one}`).join('');
        const text = `spiffe://${trustDomain}${path}`;
        expect(parseSpiffeId(text)).toEqual({ text, trustDomain, path });
      }),
    );
  });
});
