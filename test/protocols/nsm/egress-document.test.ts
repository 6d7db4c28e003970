// Protects whoever names the networks of a node: the reference's file is read as it is, and a mistake is named with its
// line instead of sending a wire elsewhere.

import { describe, expect, it } from 'vitest';
import { readYamlDocument } from '../../../bin/yaml-file.ts';
import { devicesFromDocument, egressFromDocument } from '../../../protocols/nsm/egress-document.ts';

function readDevices(text: string) {
  const document = readYamlDocument(text, { kind: 'file', name: 'devices.yaml' });
  return devicesFromDocument(document?.value, document?.positionOf ?? (() => undefined));
}

function read(text: string) {
  const document = readYamlDocument(text, { kind: 'file', name: 'networks.yaml' });
  return egressFromDocument(document?.value, document?.positionOf ?? (() => undefined));
}

describe('a file of networks outside', () => {
  it('names interfaces with their bridges, and bridges, by the label via', () => {
    const text = `interfaces:
  - name: eth1
    bridge: br0
    matches:
      - labelSelector:
          - via: gw0
          - via: gw1
bridges:
  - name: br-data
    matches:
      - labelSelector:
          - via: gw2
`;
    expect(read(text)).toEqual([
      { via: 'gw0', bridge: 'br0', interfaceName: 'eth1' },
      { via: 'gw1', bridge: 'br0', interfaceName: 'eth1' },
      { via: 'gw2', bridge: 'br-data' },
    ]);
  });

  it.each([
    ['interfaces:\n  - name: eth1\n    matches: []\n', 'a name'],
    ['bridges:\n  - name: br0\n    bridge: br1\n', 'bridges'],
    ['networks: []\n', 'bridges'],
    [
      'bridges:\n  - name: a\n    matches: [{ labelSelector: [{ via: x }, { via: x }] }]\n',
      'each value of via once',
    ],
  ])('is refused where it is wrong: %j', (text, expected) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ expected: expect.stringContaining(expected) }),
      }),
    );
  });
});

describe('a file of devices', () => {
  it('names links by the label via', () => {
    const matches = 'matches: [{ labelSelector: [{ via: gw0 }, { via: gw1 }] }]';
    expect(readDevices(`interfaces:\n  - name: eth1\n    ${matches}\n`)).toEqual([
      { via: 'gw0', interfaceName: 'eth1' },
      { via: 'gw1', interfaceName: 'eth1' },
    ]);
  });

  it.each([
    ['interfaces:\n  - matches: []\n', 'a name'],
    ['bridges: []\n', 'interfaces'],
    [
      'interfaces: [{ name: a, matches: [{ labelSelector: [{ via: x }, { via: x }] }] }]\n',
      'each value of via once',
    ],
  ])('is refused where it is wrong: %j', (text, expected) => {
    expect(() => readDevices(text)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ expected: expect.stringContaining(expected) }),
      }),
    );
  });
});
