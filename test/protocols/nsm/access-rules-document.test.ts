// Protects whoever writes access rules: the reference's file is read as it is, in its order, and a mistake is named with
// its line instead of letting something through.

import { describe, expect, it } from 'vitest';
import { readYamlDocument } from '../../../bin/yaml-file.ts';
import { accessRulesFromDocument } from '../../../protocols/nsm/access-rules-document.ts';

function read(text: string) {
  const document = readYamlDocument(text, { kind: 'file', name: 'rules.yaml' });
  return accessRulesFromDocument(document?.value, document?.positionOf ?? (() => undefined));
}

const union = (bytes: readonly number[]) =>
  `{ xxx_uniondata: [${Array.from({ length: 16 }, (_, at) => bytes[at] ?? 0).join(', ')}] }`;

describe('a file of access rules', () => {
  it('is read as the reference writes it, in order', () => {
    const rules = read(`z allow icmp:
  ispermit: 1
  srcprefix:
    address: { af: 0, un: ${union([172, 16, 1, 100])} }
    len: 31
  dstprefix:
    address: { af: 0, un: ${union([172, 16, 1, 101])} }
    len: 31
  proto: 1
  srcportoricmptypelast: 65535
  dstportoricmpcodelast: 65535
a deny the rest of fd00:
  srcprefix: { address: { af: 1, un: ${union([0xfd])} }, len: 8 }
  dstprefix: '::/0'
  dstportoricmpcodefirst: 80
  dstportoricmpcodelast: 90
  tcpflagsmask: 18
  tcpflagsvalue: 2
`);
    const any = { first: 0, last: 65_535 };
    expect(rules).toEqual([
      {
        name: 'z allow icmp',
        action: 'permit',
        source: '172.16.1.100/31',
        destination: '172.16.1.101/31',
        ipProtocol: 1,
        sourcePorts: any,
        destinationPorts: any,
        tcpFlags: { mask: 0, value: 0 },
      },
      {
        name: 'a deny the rest of fd00',
        action: 'deny',
        source: 'fd00::/8',
        destination: '::/0',
        ipProtocol: 0,
        sourcePorts: any,
        destinationPorts: { first: 80, last: 90 },
        tcpFlags: { mask: 18, value: 2 },
      },
    ]);
  });

  it('may be empty, which lets nothing through', () => {
    expect(read('')).toEqual([]);
  });

  const both = "srcprefix: '10.0.0.0/8', dstprefix: '10.0.0.0/8'";
  it.each([
    [`a: { ${both}, port: 80 }`, 'line 1, a.port', 'dstportoricmpcodefirst'],
    [`a: { ${both}, ispermit: 3 }`, 'line 1, a.ispermit', 'from 0 to 2'],
    [`a: { ${both}, proto: 256 }`, 'line 1, a.proto', 'from 0 to 255'],
    [`a:\n  { ${both},\n  dstportoricmpcodefirst: 70000 }`, 'line 3', 'from 0 to 65535'],
    [`a: { ${both}, dstportoricmpcodefirst: 80 }`, 'dstportoricmpcodelast', 'at least'],
    [`a: { srcprefix: '10.0.0.0/33', dstprefix: '::/0' }`, 'a.srcprefix', '10.0.0.0/8'],
    [`a: { srcprefix: '10.0.0.0/8', dstprefix: '::/0' }`, 'line 1, a', 'one address family'],
    [`a: { srcprefix: '10.0.0.0/8' }`, 'a.dstprefix', 'a mapping'],
    [
      `a: { srcprefix: { address: { af: 0, un: { xxx_uniondata: [1, 2] } }, len: 8 } }`,
      'xxx_uniondata',
      '16 numbers',
    ],
    ['- a', 'the document', 'a mapping'],
  ])('is refused where it is wrong: %j', (text, where, expected) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({
          rule: expect.stringContaining(where),
          expected: expect.stringContaining(expected),
        }),
      }),
    );
  });
});
