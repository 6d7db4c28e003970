// The description of the bus as people write it (VWIRE_BUS_FILE, vwire nats-config). Pure. Strict: a key that does not
// belong here, an unknown role or an id that is none refuses the whole document.

import {
  checkMapping,
  childOf,
  isAbsent,
  itemsOf,
  type Node,
  type PositionOf,
  refuseNode,
  rootOf,
  textOf,
} from '../nsm/document-reader.ts';
import { parseWorkloadId } from '../spiffe/spiffe-id.ts';
import { type BusDescription, type BusRole, busRoles, type BusUser } from './bus-rights.ts';

const keys = { known: ['domain', 'users'], shape: 'domain, users: [...]' };
const userKeys = {
  known: ['id', 'roles', 'node', 'component'],
  shape: 'id, roles: [...], node, component',
};
const usersMax = 65_536;

/** Without a domain in it, of that one. Throws INVALID_ARGUMENT with line, place, expected and found. */
export function busDescriptionFrom(
  document: unknown,
  positionOf: PositionOf,
  byDefault: Pick<BusDescription, 'domain'>,
): BusDescription {
  const root = rootOf('description of the bus', document, positionOf);
  checkMapping(root, keys);
  const users = itemsOf(childOf(root, 'users'), {
    max: usersMax,
    shape: `[{ ${userKeys.shape} }]`,
  }).map(readUser);
  return { domain: optionalText(childOf(root, 'domain')) ?? byDefault.domain, users };
}

function readUser(node: Node): BusUser {
  checkMapping(node, userKeys);
  const id = childOf(node, 'id');
  const spiffeId = optionalText(id) ?? '';
  try {
    parseWorkloadId(spiffeId);
  } catch {
    throw refuseNode(id, 'the SPIFFE ID of a workload, in full');
  }
  const roles = itemsOf(childOf(node, 'roles'), {
    max: busRoles.length,
    shape: `[${busRoles.join(', ')}]`,
  }).map(roleOf);
  const place = optionalText(childOf(node, 'node'));
  const component = optionalText(childOf(node, 'component'));
  return {
    spiffeId,
    roles,
    ...(place === undefined ? {} : { node: place }),
    ...(component === undefined ? {} : { component }),
  };
}

function roleOf(node: Node): BusRole {
  const role = busRoles.find((each) => each === node.value);
  if (role !== undefined) return role;
  throw refuseNode(node, `one of ${busRoles.join(', ')}`);
}

const optionalText = (node: Node): string | undefined =>
  isAbsent(node) ? undefined : textOf(node);
