// Protects what people type: requested services, names across domains, component URLs and configuration values. Each
// either means one thing or is refused saying what, where, expected and found.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { formatPrefix } from '../../../protocols/ipam/address.ts';
import {
  parseBoolean,
  parseDurationMs,
  parseGroups,
  parseInteger,
  parseList,
  parseMap,
  parsePrefixGroups,
} from '../../../protocols/nsm/config-values.ts';
import {
  firstDomain,
  isInterdomain,
  joinServiceName,
  splitServiceName,
} from '../../../protocols/nsm/service-name.ts';
import {
  formatServiceUrl,
  parseServiceUrl,
  parseServiceUrls,
} from '../../../protocols/nsm/service-url.ts';
import { formatUrl, parseUrl } from '../../../protocols/nsm/urls.ts';

function refused(action: () => unknown): void {
  try {
    action();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(NsmError);
    const { code, details } = thrown as NsmError;
    expect(code).toBe('INVALID_ARGUMENT');
    for (const part of [details.rule, details.expected, details.found]) expect(part).toBeTruthy();
    return;
  }
  expect.unreachable('nothing was refused');
}

describe('service names', () => {
  it('join to what was split', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        expect(joinServiceName(splitServiceName(name))).toBe(name);
      }),
    );
    expect(splitServiceName('svc@a@b')).toEqual({ target: 'svc', domain: 'a@b' });
    expect(isInterdomain('svc')).toBe(false);
    expect(firstDomain(['a', 'b@x', 'c@y'])).toBe('x');
  });
});

describe('service URLs', () => {
  it.each([
    ['kernel://svc', 'KERNEL', 'svc', undefined, {}],
    ['kernel://svc/', 'KERNEL', 'svc', undefined, {}],
    ['memif://svc@dc.example.com/if0', 'MEMIF', 'svc@dc.example.com', 'if0', {}],
    [
      'kernel://svc/nsm-1?app=x&app=y&z=a%2Cb+c',
      'KERNEL',
      'svc',
      'nsm-1',
      { app: 'x,y', z: 'a,b c' },
    ],
    ['Kernel://svc?flag', 'KERNEL', 'svc', undefined, { flag: '' }],
    ['kernel://svc@10.0.0.1:5002', 'KERNEL', 'svc@10.0.0.1:5002', undefined, {}],
  ])('reads %s', (text, ...expected) => {
    const [mechanismType, networkService, interfaceName, labels] = expected;
    expect(parseServiceUrl(text)).toEqual({ mechanismType, networkService, interfaceName, labels });
  });

  it.each([
    '',
    'svc',
    '://svc',
    'kernel://',
    'kernel:///if0',
    'kernel://@dom',
    'kernel://svc@',
    'kernel://svc/if0/more',
    'kernel://svc/sixteen-bytes-xx',
    'kernel://svc/a%2Fb',
    'kernel://svc?=x',
    'kernel://svc?a=%zz',
    'kernel://svc#x',
    'kernel://s vc',
    `kernel://${'x'.repeat(600)}`,
  ])('refuses %j', (text) => refused(() => parseServiceUrl(text)));

  it('reads lists, and says which character is wrong', () => {
    expect(parseServiceUrls('')).toEqual([]);
    expect(parseServiceUrls('kernel://a, kernel://b/x')).toHaveLength(2);
    expect(() => parseServiceUrl('kernel://svc/sixteen-bytes-xx')).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ rule: expect.stringContaining('character 14') }),
      }),
    );
  });

  it('reads what it writes', () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9._~!$&'()*;=-]{1,20}$/);
    const text = fc.string({ unit: 'grapheme', maxLength: 10 });
    const url = fc.record({
      mechanismType: fc.constantFrom('KERNEL', 'MEMIF'),
      networkService: fc
        .tuple(name, fc.option(name))
        .map(([a, b]) => (b === null ? a : `${a}@${b}`)),
      interfaceName: fc.option(fc.stringMatching(/^[a-zA-Z0-9_-]{1,15}$/), { nil: undefined }),
      labels: fc.dictionary(
        text.filter((each) => each !== ''),
        text,
      ),
    });
    fc.assert(
      fc.property(url, (each) => {
        expect(parseServiceUrl(formatServiceUrl(each))).toEqual({
          ...each,
          labels: { ...each.labels },
        });
      }),
    );
  });
});

describe('component URLs', () => {
  it.each([
    ['unix:///run/a.sock', { scheme: 'unix', path: '/run/a.sock' }],
    ['file:///proc/1/ns/net', { scheme: 'file', path: '/proc/1/ns/net' }],
    ['tcp://:5001', { scheme: 'tcp', host: '', port: 5001 }],
    ['tcp://[::1]:5001', { scheme: 'tcp', host: '::1', port: 5001 }],
    [
      'inode://4/18446744073709551615',
      { scheme: 'inode', dev: 4n, ino: 18_446_744_073_709_551_615n },
    ],
    ['nats://dom/node/nsmgr', { scheme: 'nats', domain: 'dom', node: 'node', component: 'nsmgr' }],
    ['memory:nsmgr', { scheme: 'memory', name: 'nsmgr' }],
  ])('reads and writes %s', (text, url) => {
    expect(parseUrl(text)).toEqual(url);
    expect(formatUrl(parseUrl(text))).toBe(text);
  });

  it('takes a bare host:port as tcp, as the manifests of the reference write it', () => {
    expect(parseUrl('registry:5002')).toEqual({ scheme: 'tcp', host: 'registry', port: 5002 });
  });

  it.each([
    '',
    'unix://relative',
    'unix:///',
    'tcp://h',
    'tcp://h:70000',
    'tcp://::1:5',
    'http://h:1',
    'inode://1',
    'inode://1/18446744073709551616',
    'inode://x/1',
    'nats://d/n',
    'nats://d//c',
    'memory:',
    'unix:///a b',
    'tcp://user@h:1',
  ])('refuses %j', (text) => refused(() => parseUrl(text)));
});

describe('configuration values', () => {
  it.each([
    ['10m', 600_000],
    ['750ms', 750],
    ['1h30m', 5_400_000],
    ['-1.5s', -1500],
    ['.5s', 500],
    ['1us', 0.001],
    ['2µs', 0.002],
    ['0', 0],
    ['-0s', 0],
  ])('reads the duration %s', (text, ms) => expect(parseDurationMs(text, 'X')).toBeCloseTo(ms));

  it.each(['', '10', 'm', '1 m', '1d', '.s', '1..s', '9999999h', 'Infinity'])(
    'refuses the duration %j',
    (text) => refused(() => parseDurationMs(text, 'X')),
  );

  it('reads Go booleans and whole numbers only', () => {
    expect(['1', 't', 'True', 'TRUE'].every((text) => parseBoolean(text, 'X'))).toBe(true);
    expect(['0', 'F', 'false'].some((text) => parseBoolean(text, 'X'))).toBe(false);
    for (const text of ['', 'yes', 'tRUE']) refused(() => parseBoolean(text, 'X'));
    expect(parseInteger('4789', 'X', { min: 0, max: 65_535 })).toBe(4789);
    for (const text of ['', '1.5', '65536', '-1', '0x1']) {
      refused(() => parseInteger(text, 'X', { min: 0, max: 65_535 }));
    }
  });

  it('reads lists, maps and groups; empty text is empty', () => {
    expect(parseList('', 'X')).toEqual([]);
    expect(parseList('a,b', 'X')).toEqual(['a', 'b']);
    expect(parseMap('', 'X')).toEqual({});
    expect(parseMap('app:x,p2p:true', 'X')).toEqual({ app: 'x', p2p: 'true' });
    for (const text of ['app', 'a:b:c', ':x', 'a:b,']) refused(() => parseMap(text, 'X'));
    expect(parseGroups('[a, b],[c] , d', 'X')).toEqual([['a', 'b'], ['c'], ['d']]);
    expect(parseGroups(' ', 'X')).toEqual([]);
    for (const text of ['[a', 'a]', '[[a]]', '[a],,b', '[a,],b', '[a]b', '[]', 'a,']) {
      refused(() => parseGroups(text, 'X'));
    }
  });

  it('reads CIDR groups: what is in brackets shares one address pair', () => {
    const groups = parsePrefixGroups('[10.0.0.5/24,10.1.0.0/24],2001:db8::/64', 'X');
    expect(groups.map((group) => group.map(formatPrefix))).toEqual([
      ['10.0.0.0/24', '10.1.0.0/24'],
      ['2001:db8::/64'],
    ]);
    for (const text of ['10.0.0.1', '10.0.0.0/33', 'x'])
      refused(() => parsePrefixGroups(text, 'X'));
  });
});
