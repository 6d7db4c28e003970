// Protects whoever writes policy routes: the reference's files are read as they are, and a mistake is named with its line
// instead of becoming a policy that fits everything or nothing.

import { describe, expect, it } from 'vitest';
import { readYamlDocument } from '../../../bin/yaml-file.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { policyRoutesFrom } from '../../../protocols/nsm/policy-routes-document.ts';

function read(text: string) {
  const document = readYamlDocument(text, { kind: 'file', name: 'config.yaml' });
  return policyRoutesFrom(document?.value, document?.positionOf ?? (() => undefined)).map(
    ({ from, proto, srcPort, dstPort, routes }) => ({
      from,
      proto,
      srcPort,
      dstPort,
      routes: routes.map(({ prefix, nextHop }) => `${prefix} via ${nextHop}`),
    }),
  );
}

function refused(text: string): NsmError {
  try {
    read(text);
  } catch (thrown) {
    if (thrown instanceof NsmError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was refused');
}

describe('a file of policy routes', () => {
  it('is a list with the keys of the reference, in order', () => {
    const text = `- proto: 6
  dstport: 6666
  from: 172.16.2.200/24
  routes:
    - prefix: 172.16.3.0/24
      nexthop: 172.16.2.201
- proto: "17"
  srcport: 1000-2000
  routes:
    - prefix: 2004::/64
      nexthop: 2004::6
- from: 172.16.2.202/24
`;
    expect(read(text)).toEqual([
      {
        from: '172.16.2.200/24',
        proto: '6',
        srcPort: '',
        dstPort: '6666',
        routes: ['172.16.3.0/24 via 172.16.2.201'],
      },
      {
        from: '',
        proto: '17',
        srcPort: '1000-2000',
        dstPort: '',
        routes: ['2004::/64 via 2004::6'],
      },
      { from: '172.16.2.202/24', proto: '', srcPort: '', dstPort: '', routes: [] },
    ]);
    expect(read('[]')).toEqual([]);
  });

  it.each([
    ['from: 10.0.0.1/32\n', 'the document', 'a mapping with from'],
    ['- source: 10.0.0.1/32\n', '0.source', 'the key source'],
    ['- from: 10.0.0.1\n', '0.from', '"10.0.0.1"'],
    ['- proto: tcp\n', '0.proto', '"tcp"'],
    ['- proto: 256\n', '0.proto', 'number 256'],
    ['- dstport: 0\n', '0.dstport', 'number 0'],
    ['- dstport: 9-5\n', '0.dstport', '"9-5"'],
    ['- routes:\n  - prefix: 10.0.0.0\n', '0.routes.0.prefix', '"10.0.0.0"'],
    [
      '- routes:\n  - prefix: 10.0.0.0/8\n    nextHop: 1\n',
      '0.routes.0.nextHop',
      'the key nextHop',
    ],
    [
      '- from: fd00::1/128\n  routes:\n  - prefix: 10.0.0.0/8\n',
      '0.routes.0',
      '10.0.0.0/8 via nothing',
    ],
    [
      '- routes:\n  - prefix: 10.0.0.0/8\n  - prefix: fd00::/8\n    nexthop: fd00::1\n',
      '0.routes.1',
      'fd00::/8 via fd00::1',
    ],
  ])('refuses %j at its place', (text, place, found) => {
    const { code, details } = refused(text);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details.rule).toMatch(new RegExp(`line \\d+, ${place.replaceAll('.', '\\.')}$`));
    expect(details.found).toBe(found);
  });
});
