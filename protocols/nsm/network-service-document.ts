// NetworkServices as people write them: the Kubernetes resource (`kind: NetworkService`, `spec`), or its spec alone.
// Strict on purpose: the reference drops keys that it does not know, so that a wrongly nested `routes` (several
// published examples have one) silently selects nobody. Here each is refused with its line and the expected shape.

import { create } from '@bufbuild/protobuf';
import { limits } from '../limits.ts';
import {
  booleanOf,
  checkMapping,
  childOf,
  isAbsent,
  itemsOf,
  type Node,
  type PositionOf,
  refuseNode,
  rootOf,
  textMapOf,
  textOf,
  unsignedOf,
} from './document-reader.ts';
import {
  type Destination,
  DestinationSchema,
  type Match,
  MatchSchema,
  type Metadata,
  MetadataSchema,
  type NetworkService,
  NetworkServiceSchema,
} from './gen/registry_pb.ts';
import { payload } from './mechanism.ts';
import { ourLabel, policies } from './selection-policy.ts';

const matchShape =
  'matches: [{ source_selector: {...}, routes: [{ destination_selector: {...} }], fallthrough, metadata: { labels: {...} } }]';

const resourceKeys = {
  known: ['apiVersion', 'kind', 'metadata', 'spec', 'status'],
  shape: 'apiVersion, kind, metadata, spec: { payload, matches }',
  hint: hintFor,
};
const serviceKeys = {
  known: ['name', 'payload', 'matches', 'path_ids'],
  shape: `name, payload, ${matchShape}`,
  hint: hintFor,
};
const matchKeys = {
  known: ['source_selector', 'routes', 'fallthrough', 'metadata'],
  shape: matchShape,
  hint: hintFor,
};
const routeKeys = {
  known: ['destination_selector', 'weight'],
  shape: 'routes: [{ destination_selector: {...}, weight }]',
  hint: hintFor,
};
const metadataKeys = {
  known: ['labels'],
  shape: 'metadata: { labels: { <forwarder label>: <text> } }',
  hint: hintFor,
};

/** The service that one parsed document describes. Throws INVALID_ARGUMENT with line, place, expected and found. */
export function networkServiceFromDocument(
  document: unknown,
  positionOf: PositionOf,
): NetworkService {
  const root = rootOf('NetworkService document', document, positionOf);
  const isResource = !isAbsent(childOf(root, 'kind')) || !isAbsent(childOf(root, 'spec'));
  if (!isResource) return readService(root, '');
  checkMapping(root, resourceKeys);
  const kind = childOf(root, 'kind');
  if (kind.value !== 'NetworkService') throw refuseNode(kind, 'kind: NetworkService');
  const spec = childOf(root, 'spec');
  return readService(
    isAbsent(spec) ? { ...spec, value: {} } : spec,
    textOf(childOf(childOf(root, 'metadata'), 'name')),
  );
}

function readService(node: Node, nameOfResource: string): NetworkService {
  checkMapping(node, serviceKeys);
  const name = textOf(childOf(node, 'name')) || nameOfResource;
  if (name === '') throw refuseNode(node, 'a name in name or metadata.name');
  const payloadNode = childOf(node, 'payload');
  const kind = textOf(payloadNode).toUpperCase();
  if (kind !== '' && kind !== payload.ip && kind !== payload.ethernet) {
    throw refuseNode(payloadNode, 'IP or ETHERNET');
  }
  const matches = itemsOf(childOf(node, 'matches'), { max: limits.matches, shape: matchShape });
  const pathIds = itemsOf(childOf(node, 'path_ids'), { max: limits.pathIds, shape: 'SPIFFE IDs' });
  return create(NetworkServiceSchema, {
    name,
    payload: kind,
    matches: matches.map(readMatch),
    pathIds: pathIds.map(textOf),
  });
}

function readMatch(node: Node): Match {
  checkMapping(node, matchKeys);
  const routes = itemsOf(childOf(node, 'routes'), { max: limits.routes, shape: routeKeys.shape });
  const metadata = readMetadata(childOf(node, 'metadata'));
  return create(MatchSchema, {
    sourceSelector: textMapOf(childOf(node, 'source_selector'), hintFor),
    routes: routes.map(readRoute),
    fallthrough: booleanOf(childOf(node, 'fallthrough')),
    ...(metadata === undefined ? {} : { metadata }),
  });
}

function readRoute(node: Node): Destination {
  checkMapping(node, routeKeys);
  return create(DestinationSchema, {
    destinationSelector: textMapOf(childOf(node, 'destination_selector'), hintFor),
    weight: unsignedOf(childOf(node, 'weight')),
  });
}

function readMetadata(node: Node): Metadata | undefined {
  if (isAbsent(node)) return undefined;
  checkMapping(node, metadataKeys);
  const labels = textMapOf(childOf(node, 'labels'));
  const policy = labels[ourLabel.select];
  // A registry would take any word, and a forwarder go by round robin without a word.
  if (policy !== undefined && !policies.some((known) => known === policy)) {
    throw refuseNode(childOf(childOf(node, 'labels'), ourLabel.select), policies.join(', '));
  }
  return create(MetadataSchema, { labels });
}

/** Where a key belongs that was found in another place, or how it is spelled here. */
function hintFor(key: string): string | undefined {
  const hints: Readonly<Record<string, string>> = {
    routes: 'routes is a list beside source_selector, one level below matches: move it there',
    route: 'the key is routes, a list of { destination_selector: {...} } beside source_selector',
    match: 'leave the level "match" out: its content stands directly in the list item',
    destination: 'leave the level "destination" out: destination_selector stands in the list item',
    destination_selector: 'destination_selector belongs into an item of routes',
    destinationSelector: 'the key is destination_selector',
    source_selector: 'source_selector belongs into an item of matches',
    sourceSelector: 'the key is source_selector',
    fallThrough: 'the key is fallthrough',
    fallthrough: 'fallthrough stands beside source_selector, one level below matches',
    matches: 'matches belongs into spec',
    payload: 'payload belongs into spec',
  };
  return Object.hasOwn(hints, key) ? hints[key] : undefined;
}
