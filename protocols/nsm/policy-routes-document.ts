// The policy routes of an Endpoint as people write them (NSM_PBR_CONFIG_PATH): a list of `from`, `proto`, `srcport`,
// `dstport`, `routes: [{ prefix, nexthop }]`, with the reference's keys. Pure. Strict: what the reference would take for
// nothing is refused with its line, since a policy that silently matches everything, or nothing, is found only in traffic.

import { parseAddress, parseCidr, parsePrefix } from '../ipam/address.ts';
import { create } from '@bufbuild/protobuf';
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
} from './document-reader.ts';
import {
  type PolicyRoute,
  PolicyRouteSchema,
  type Route,
  RouteSchema,
} from './gen/connectioncontext_pb.ts';

const policyShape = 'from, proto, srcport, dstport, routes: [{ prefix, nexthop }]';
const policyKeys = { known: ['from', 'proto', 'srcport', 'dstport', 'routes'], shape: policyShape };
const routeKeys = { known: ['prefix', 'nexthop'], shape: 'routes: [{ prefix, nexthop }]' };
/** As many as a data plane takes. */
const policiesMax = 1024;
const routesMax = 256;

/** In the order of the document. Throws INVALID_ARGUMENT. */
export function policyRoutesFrom(
  document: unknown,
  positionOf: PositionOf,
): readonly PolicyRoute[] {
  const root = rootOf('document of policy routes', document, positionOf);
  return itemsOf(root, { max: policiesMax, shape: `[{ ${policyShape} }]` }).map(readPolicy);
}

function readPolicy(node: Node): PolicyRoute {
  checkMapping(node, policyKeys);
  const from = readFrom(childOf(node, 'from'));
  const routes = itemsOf(childOf(node, 'routes'), { max: routesMax, shape: routeKeys.shape });
  const family = from === '' ? undefined : parseCidr(from)?.address.family;
  const read = routes.map((route) => readRoute(route, family));
  const [first] = read;
  // Without a source the first route says which family the rest must be of.
  const ofFirst = first === undefined ? undefined : parsePrefix(first.prefix)?.family;
  routes.forEach((route) => readRoute(route, family ?? ofFirst));
  return create(PolicyRouteSchema, {
    from,
    proto: readProtocol(childOf(node, 'proto')),
    srcPort: readPorts(childOf(node, 'srcport')),
    dstPort: readPorts(childOf(node, 'dstport')),
    routes: read,
  });
}

/** Becomes an address of the client, so it has a length. */
function readFrom(node: Node): string {
  const text = textOf(node);
  if (text === '' || parseCidr(text) !== undefined) return text;
  throw refuseNode(node, 'an address with a length, such as 172.16.2.200/24');
}

function readRoute(node: Node, family: 4 | 6 | undefined): Route {
  checkMapping(node, routeKeys);
  const [prefixNode, hopNode] = [childOf(node, 'prefix'), childOf(node, 'nexthop')];
  const prefix = textOf(prefixNode);
  const target = parseCidr(prefix);
  if (target === undefined) throw refuseNode(prefixNode, 'a prefix such as 172.16.3.0/24');
  const nextHop = textOf(hopNode);
  const hop = nextHop === '' ? undefined : parseAddress(nextHop);
  if (nextHop !== '' && hop === undefined) throw refuseNode(hopNode, 'an address, or nothing');
  const found = [target.address, ...(hop === undefined ? [] : [hop])].map((each) => each.family);
  const wanted = family ?? target.address.family;
  if (found.every((each) => each === wanted)) return create(RouteSchema, { prefix, nextHop });
  throw refuseNode(node, `IPv${wanted}, as the rest of the policy`, {
    found: `${prefix} via ${nextHop === '' ? 'nothing' : nextHop}`,
  });
}

function readProtocol(node: Node): string {
  if (isAbsent(node)) return '';
  const text = typeof node.value === 'number' ? String(node.value) : textOf(node);
  if (text === '' || (/^\d{1,3}$/.test(text) && Number(text) <= 255)) return text;
  throw refuseNode(node, 'an IP protocol number of 0 to 255, such as 6 for TCP or 17 for UDP');
}

function readPorts(node: Node): string {
  if (isAbsent(node)) return '';
  const text = typeof node.value === 'number' ? String(node.value) : textOf(node);
  if (text === '') return text;
  const parts = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(parts?.[1] ?? 0);
  const last = Number(parts?.[2] ?? first);
  if (parts !== null && first >= 1 && first <= last && last <= 65_535) return text;
  throw refuseNode(node, 'a port or a range of ports, such as 80 or 1000-2000');
}
