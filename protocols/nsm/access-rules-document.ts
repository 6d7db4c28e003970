// The file of access rules of the reference's firewall (cmd-nse-firewall-vpp, `NSM_ACL_CONFIG_PATH`): rules by name, in the
// fields of VPP's `acl_rule`. The first that fits a packet decides; what none fits is dropped.
// Differences: rules keep the order of the file, which the reference loses; a prefix may be written as `10.0.0.0/8`; ports
// that are not given are all ports, where the reference means port 0.

import { NsmError } from '../errors.ts';
import { formatIp, parsePrefix } from '../netlink/ip-address.ts';
import type { PortRange } from '../ports/dataplane.ts';
import type { Node, PositionOf } from './document-reader.ts';
import {
  checkMapping,
  childOf,
  isAbsent,
  itemsOf,
  refuseNode,
  rootOf,
  textOf,
  unsignedOf,
} from './document-reader.ts';

/** Of packets that a client sends; what answers them is let back by the same rule, turned round. */
export interface AccessRule {
  readonly name: string;
  /** `reflect` lets in whatever belongs to a packet that it let out, and counts no rule for it. */
  readonly action: 'deny' | 'permit' | 'reflect';
  /** CIDR, both of one family. */
  readonly source: string;
  readonly destination: string;
  /** 0: any. */
  readonly ipProtocol: number;
  /** For ICMP the type. */
  readonly sourcePorts: PortRange;
  /** For ICMP the code. */
  readonly destinationPorts: PortRange;
  readonly tcpFlags: { readonly mask: number; readonly value: number };
}

const shape =
  '<name>: { ispermit, srcprefix, dstprefix, proto, srcportoricmptypefirst, srcportoricmptypelast, ' +
  'dstportoricmpcodefirst, dstportoricmpcodelast, tcpflagsmask, tcpflagsvalue }';
const prefixShape = '10.0.0.0/8, or { address: { af, un: { xxx_uniondata: 16 numbers } }, len }';
const keys = [
  'ispermit',
  'srcprefix',
  'dstprefix',
  'proto',
  'srcportoricmptypefirst',
  'srcportoricmptypelast',
  'dstportoricmpcodefirst',
  'dstportoricmpcodelast',
  'tcpflagsmask',
  'tcpflagsvalue',
];
/** ACL_ACTION_API_... */
const actions = ['deny', 'permit', 'reflect'] as const;
const rulesMax = 1024;
const addressLength = 16;
const familyLengths = [4, addressLength] as const;
const anyPort: PortRange = { first: 0, last: 65_535 };

/** Errors: INVALID_ARGUMENT with the line. */
export function accessRulesFromDocument(
  value: unknown,
  positionOf: PositionOf,
): readonly AccessRule[] {
  const root = rootOf('file of access rules', value, positionOf);
  if (isAbsent(root)) return [];
  const names = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  checkMapping(root, { known: names, shape });
  if (names.length > rulesMax) {
    throw refuseNode(root, `at most ${rulesMax} rules`, { found: `${names.length} rules` });
  }
  return names.map((name) => ruleOf(childOf(root, name), name));
}

function ruleOf(node: Node, name: string): AccessRule {
  checkMapping(node, { known: keys, shape });
  const [source, destination] = [prefixOf(node, 'srcprefix'), prefixOf(node, 'dstprefix')];
  if (source.includes(':') !== destination.includes(':')) {
    const found = `${source} and ${destination}`;
    throw refuseNode(node, 'srcprefix and dstprefix of one address family', { found });
  }
  return {
    name,
    action: actions[numberOf(node, 'ispermit', actions.length - 1)] ?? 'deny',
    source,
    destination,
    ipProtocol: numberOf(node, 'proto', 255),
    sourcePorts: portsOf(node, 'srcportoricmptype'),
    destinationPorts: portsOf(node, 'dstportoricmpcode'),
    tcpFlags: {
      mask: numberOf(node, 'tcpflagsmask', 255),
      value: numberOf(node, 'tcpflagsvalue', 255),
    },
  };
}

function numberOf(node: Node, key: string, max: number): number {
  const child = childOf(node, key);
  const value = unsignedOf(child);
  if (value > max) throw refuseNode(child, `a whole number from 0 to ${max}`);
  return value;
}

function portsOf(node: Node, key: string): PortRange {
  const [first, last] = [`${key}first`, `${key}last`];
  if ([first, last].every((each) => isAbsent(childOf(node, each)))) return anyPort;
  const range = {
    first: numberOf(node, first, anyPort.last),
    last: numberOf(node, last, anyPort.last),
  };
  if (range.first <= range.last) return range;
  const found = `${range.first} to ${range.last}`;
  throw refuseNode(childOf(node, last), `at least ${first}`, { found });
}

/** CIDR. */
function prefixOf(rule: Node, key: string): string {
  const node = childOf(rule, key);
  if (typeof node.value === 'string') return cidrOf(node, textOf(node));
  checkMapping(node, { known: ['address', 'len'], shape: prefixShape });
  const address = childOf(node, 'address');
  checkMapping(address, { known: ['af', 'un'], shape: prefixShape });
  const union = childOf(address, 'un');
  checkMapping(union, { known: ['xxx_uniondata'], shape: prefixShape });
  const numbers = childOf(union, 'xxx_uniondata');
  const bytes = itemsOf(numbers, { max: addressLength, shape: prefixShape }).map(byteOf);
  if (bytes.length !== addressLength) throw refuseNode(numbers, `${addressLength} numbers`);
  const length = familyLengths[numberOf(address, 'af', 1)] ?? addressLength;
  const text = formatIp(Uint8Array.from(bytes.slice(0, length)));
  return `${text}/${numberOf(node, 'len', length * 8)}`;
}

function byteOf(node: Node): number {
  const value = unsignedOf(node);
  if (value > 255) throw refuseNode(node, 'a whole number from 0 to 255');
  return value;
}

function cidrOf(node: Node, text: string): string {
  try {
    parsePrefix(text);
    return text;
  } catch (error) {
    if (!(error instanceof NsmError)) throw error;
    throw refuseNode(node, prefixShape);
  }
}
