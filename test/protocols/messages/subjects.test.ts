// Protects the subject grammar: any NSM name survives the bus, two names never share a subject, and no decoder
// throws on a stranger's text.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  busUrl,
  componentSubject,
  decodeToken,
  encodeToken,
  methodSuffix,
  parseBusUrl,
  parseCallSubject,
} from '../../../protocols/messages/subjects.ts';

const awkward = fc.constantFrom(
  '@',
  '.',
  '/',
  '*',
  '>',
  ' ',
  '=',
  '%',
  '$',
  '~',
  'é',
  '😀',
  'a',
  'Z',
  '-',
);
const name = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 40 }),
    fc.array(awkward, { minLength: 1, maxLength: 30 }).map((parts) => parts.join('')),
  )
  .filter((text) => !/\p{Cs}/u.test(text));
const runs = { numRuns: 2000 };

it('round trips every name through a token that a subject and a KV key may hold', () => {
  fc.assert(
    fc.property(name, (text) => {
      const token = encodeToken(text);
      expect(token).toMatch(/^[A-Za-z0-9_=-]+$/);
      expect(decodeToken(token)).toBe(text);
    }),
    runs,
  );
});

it('decodes only what it encodes, so that two tokens never mean one name', () => {
  const token = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', '=', '4', '1', '2', 'F', 'f', '.', 'C', '3') }),
    name.map(encodeToken),
    name.map((text) => `${encodeToken(text)}=41`),
  );
  fc.assert(
    fc.property(token, (text) => {
      const decoded = decodeToken(text);
      if (decoded !== undefined) expect(encodeToken(decoded)).toBe(text);
    }),
    runs,
  );
});

it('round trips addresses through URLs and subjects', () => {
  fc.assert(
    fc.property(name, name, name, name, (domain, node, component, service) => {
      const address = { domain, node, component };
      expect(parseBusUrl(busUrl(address))).toEqual(address);
      const subject = `${componentSubject(address)}.${methodSuffix(service, 'Request')}`;
      expect(subject).not.toMatch(/[\s*>]/);
      expect(parseCallSubject(subject)).toEqual({ ...address, service, method: 'Request' });
    }),
    runs,
  );
});

it('reads as expected for ordinary names', () => {
  const subject = componentSubject(parseBusUrl('nats://dc.example/node-1/nsmgr'));
  expect(subject).toBe('nsm.dc=2Eexample.node-1.nsmgr');
  expect(methodSuffix('networkservice.NetworkService', 'Request')).toBe(
    'networkservice=2ENetworkService.Request',
  );
});

it('refuses what names no component, with the expected form', () => {
  for (const url of [
    'nats://a/b',
    'nats://a/b/c/d',
    'nats://a//c',
    'tcp://a/b/c',
    'nats://a/b/%',
    '',
  ]) {
    expect(() => parseBusUrl(url)).toThrow(/component on the bus/);
  }
  expect(() => encodeToken('')).toThrow(/put on the bus/);
  expect(() => encodeToken('é'.repeat(200))).toThrow(/put on the bus/);
  expect(() => encodeToken('\uD800')).toThrow(/put on the bus/);
  for (const subject of [
    '',
    'nsm',
    'nsm.a.b.c',
    'nsm.a.b.c.$call.x',
    'other.a.b.c.d.e',
    'nsm.a.b..d.e',
  ]) {
    expect(parseCallSubject(subject)).toBeUndefined();
  }
});
