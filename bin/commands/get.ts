// `vwire get services|endpoints|connections|nodes`: lists what a manager knows, with `--watch` the connections as they change.
// Fields of `-o json|yaml`: docs/cli.md.

import { spanText } from '../inspect/durations.ts';
import { byWay, type ConnectionView, connectionView } from '../inspect/connection-view.ts';
import { type MeshClient, withMesh } from '../inspect/mesh-client.ts';
import {
  endpointView,
  type EndpointView,
  nodeViews,
  type NodeView,
  serviceViews,
  type ServiceView,
} from '../inspect/views.ts';
import { isNodeLease } from '../../protocols/nsm/node-lease.ts';
import { managerUrl } from '../inspect/where.ts';
import { type OutputFormat, printListing } from '../output/print.ts';
import { withProgress } from '../output/progress.ts';
import type { Column } from '../output/table.ts';
import { parseArguments, UsageError } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { outputFormat } from './output-format.ts';
import { watchConnections } from './watch-connections.ts';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('get', args);
  const [kind = ''] = parsed.operands;
  const format = outputFormat(parsed);
  const url = managerUrl(parsed);
  if (parsed.options['watch'] === true) {
    if (kind !== 'connections') throw new UsageError('--watch is for connections alone');
    if (format === 'yaml') throw new UsageError('--watch prints a table or JSON lines, no yaml');
    await withMesh(url, (mesh) => watchConnections(mesh, { columns: connectionColumns, format }));
    return exitCodes.ok;
  }
  const show = await withProgress(`asking the manager at ${url}`, () =>
    withMesh(url, (mesh) => listing(mesh, kind, format)),
  );
  show();
  return exitCodes.ok;
}

/** The service name of forwarders; the reference's default, which is what `get nodes` counts as one. */
export const forwarderServiceName = 'forwarder';

async function listing(mesh: MeshClient, kind: string, format: OutputFormat): Promise<() => void> {
  const nowMs = Date.now();
  switch (kind) {
    case 'services': {
      const [services, endpoints] = await Promise.all([mesh.services(), mesh.endpoints()]);
      const rows = serviceViews(services, endpoints);
      return () => printListing({ rows, columns: serviceColumns }, format);
    }
    case 'endpoints': {
      const endpoints = await mesh.endpoints();
      const rows = endpoints
        .filter((each) => !isNodeLease(each))
        .map((each) => endpointView(each, nowMs));
      return () => printListing({ rows, columns: endpointColumns }, format);
    }
    case 'nodes': {
      const rows = nodeViews(await mesh.endpoints(), forwarderServiceName, nowMs);
      return () => printListing({ rows, columns: nodeColumns }, format);
    }
    default: {
      const rows = await connectionViews(mesh);
      return () => printListing({ rows, columns: connectionColumns }, format);
    }
  }
}

/** Every connection of the manager, by id. */
export async function connectionViews(mesh: MeshClient): Promise<readonly ConnectionView[]> {
  const [connections, details] = await Promise.all([mesh.connections(), mesh.connectionDetails()]);
  return connections
    .map((each) => connectionView(each, details.get(each.id), Date.now()))
    .toSorted(byWay);
}

const serviceColumns: readonly Column<ServiceView>[] = [
  { title: 'NAME', cell: ({ name }) => name },
  { title: 'PAYLOAD', cell: ({ payload }) => payload },
  { title: 'ENDPOINTS', cell: ({ endpoints }) => endpoints.length, align: 'right' },
  { title: 'MATCHES', cell: ({ matches }) => matches.length, align: 'right' },
];

const endpointColumns: readonly Column<EndpointView>[] = [
  { title: 'NAME', cell: ({ name }) => name },
  { title: 'SERVICES', cell: ({ services }) => services.join(',') },
  { title: 'NODE', cell: ({ node }) => node ?? undefined },
  { title: 'URL', cell: ({ url }) => url },
  { title: 'AGE', cell: ({ ageMs }) => spanText(ageMs) },
  { title: 'EXPIRES', cell: ({ expiresInMs }) => spanText(expiresInMs) },
];

const connectionColumns: readonly Column<ConnectionView>[] = [
  { title: 'ID', cell: ({ id }) => id },
  { title: 'SERVICE', cell: ({ networkService }) => networkService },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'CLIENT', cell: ({ client }) => client },
  { title: 'ENDPOINT', cell: ({ endpoint }) => endpoint },
  { title: 'ADDRESS', cell: ({ addresses }) => addresses.client.join(',') || undefined },
  { title: 'HOPS', cell: ({ path }) => path.length, align: 'right' },
  { title: 'AGE', cell: ({ ageMs }) => spanText(ageMs) },
  { title: 'EXPIRES', cell: ({ expiresInMs }) => spanText(expiresInMs) },
];

const nodeColumns: readonly Column<NodeView>[] = [
  { title: 'NAME', cell: ({ name }) => name },
  { title: 'STATE', cell: ({ state }) => (state === 'noLease' ? 'no lease' : state) },
  { title: 'MANAGER', cell: ({ manager }) => manager ?? undefined },
  { title: 'VERSION', cell: ({ version }) => version ?? undefined },
  { title: 'AGE', cell: ({ ageMs }) => spanText(ageMs) },
  { title: 'LEASE AGE', cell: ({ leaseAgeMs }) => spanText(leaseAgeMs) },
  { title: 'FORWARDERS', cell: ({ forwarders }) => forwarders.join(',') || undefined },
  { title: 'ENDPOINTS', cell: ({ endpoints }) => endpoints.length, align: 'right' },
  { title: 'URL', cell: ({ url }) => url ?? undefined },
];
