// The files that name the networks outside of the mesh that a node is in, as the reference's forwarders read them: under
// `interfaces` links of the node, over Open vSwitch with the bridge that each is put on, under `bridges` bridges that are
// there; each with the values of the connection label `via` that mean it.

import type { Node, PositionOf } from './document-reader.ts';
import { checkMapping, childOf, itemsOf, refuseNode, textOf } from './document-reader.ts';

export interface EgressEntry {
  readonly via: string;
  readonly bridge: string;
  /** Put on the bridge, which is made where it is missing. */
  readonly interfaceName?: string;
}

/** A link of the node. */
export interface DeviceEntry {
  readonly via: string;
  readonly interfaceName: string;
}

const shape = 'interfaces: [{ name, bridge, matches }], bridges: [{ name, matches }]';
const deviceShape = 'interfaces: [{ name, matches }]';
const entriesMax = 1024;

/** Errors: INVALID_ARGUMENT with the line. */
export function egressFromDocument(value: unknown, positionOf: PositionOf): readonly EgressEntry[] {
  const root: Node = { document: 'L2 resource selector file', value, path: [], positionOf };
  checkMapping(root, { known: ['interfaces', 'bridges'], shape });
  const list = (key: 'interfaces' | 'bridges') =>
    itemsOf(childOf(root, key), { max: entriesMax, shape });
  const entries: EgressEntry[] = [
    ...list('interfaces').flatMap((node) => {
      checkMapping(node, { known: ['name', 'bridge', 'matches'], shape });
      const interfaceName = required(node, 'name');
      const bridge = required(node, 'bridge');
      return viasOf(node).map((via) => ({ via, bridge, interfaceName }));
    }),
    ...list('bridges').flatMap((node) => {
      checkMapping(node, { known: ['name', 'matches'], shape });
      const bridge = required(node, 'name');
      return viasOf(node).map((via) => ({ via, bridge }));
    }),
  ];
  checkOnce(root, entries);
  return entries;
}

/** For a data plane without bridges of the node's. Errors: INVALID_ARGUMENT with the line. */
export function devicesFromDocument(
  value: unknown,
  positionOf: PositionOf,
): readonly DeviceEntry[] {
  const root: Node = { document: 'device selector file', value, path: [], positionOf };
  checkMapping(root, { known: ['interfaces'], shape: deviceShape });
  const nodes = itemsOf(childOf(root, 'interfaces'), { max: entriesMax, shape: deviceShape });
  const entries = nodes.flatMap((node) => {
    checkMapping(node, { known: ['name', 'matches'], shape: deviceShape });
    const interfaceName = required(node, 'name');
    return viasOf(node).map((via) => ({ via, interfaceName }));
  });
  checkOnce(root, entries);
  return entries;
}

function checkOnce(root: Node, entries: readonly { readonly via: string }[]): void {
  const vias = entries.map(({ via }) => via);
  const twice = vias.find((via, index) => vias.indexOf(via) !== index);
  if (twice === undefined) return;
  throw refuseNode(root, 'each value of via once', { found: `via: ${twice} twice` });
}

function required(node: Node, key: string): string {
  const text = textOf(childOf(node, key));
  if (text === '') throw refuseNode(childOf(node, key), 'a name');
  return text;
}

function viasOf(node: Node): string[] {
  const matches = itemsOf(childOf(node, 'matches'), { max: entriesMax, shape });
  return matches.flatMap((match) =>
    itemsOf(childOf(match, 'labelSelector'), { max: entriesMax, shape }).map((selector) =>
      required(selector, 'via'),
    ),
  );
}
