// `vwire describe connection ID`: everything about one connection, hop by hop. Fields of `-o json|yaml`: docs/cli.md.

import { type ConnectionView, findConnection, type RouteView } from '../inspect/connection-view.ts';
import { spanText } from '../inspect/durations.ts';
import { type MeshClient, withMesh } from '../inspect/mesh-client.ts';
import { endpointView, type EndpointView } from '../inspect/views.ts';
import { managerUrl } from '../inspect/where.ts';
import { createPaint, type Paint } from '../output/colours.ts';
import { formatValue } from '../output/print.ts';
import { withProgress } from '../output/progress.ts';
import { formatTable, printable } from '../output/table.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { connectionViews } from './get.ts';
import { outputFormat } from './output-format.ts';

interface Description extends ConnectionView {
  /** As the registry shows it; null where it is not registered (any more). */
  readonly endpointEntry: EndpointView | null;
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('describe', args);
  const [, id = ''] = parsed.operands;
  const url = managerUrl(parsed);
  const format = outputFormat(parsed);
  const description = await withProgress(`asking the manager at ${url}`, () =>
    withMesh(url, (mesh) => describe(mesh, id)),
  );
  const text =
    format === 'table'
      ? describedText(description, createPaint(process.stdout, process.env))
      : formatValue(description, format);
  process.stdout.write(text);
  return exitCodes.ok;
}

async function describe(mesh: MeshClient, id: string): Promise<Description> {
  const connection = findConnection(await connectionViews(mesh), id);
  // The connection is worth showing while the registry is away.
  const endpoints = await mesh.endpoints().catch(() => []);
  const entry = endpoints.find(({ name }) => name === connection.endpoint);
  const endpointEntry = entry === undefined ? null : endpointView(entry, Date.now());
  return { ...connection, endpointEntry };
}

function describedText(view: Description, paint: Paint): string {
  const { mechanism, endpointEntry } = view;
  const facts: readonly (readonly [string, string])[] = [
    ['state', view.state],
    ['service', `${view.networkService}, payload ${view.payload || '-'}`],
    ['client', view.client],
    ['endpoint', endpointText(view.endpoint, endpointEntry)],
    ['age', view.ageMs === null ? 'longer than its manager runs' : spanText(view.ageMs)],
    ['closes in', closesText(view)],
    ['mechanism', mechanism === null ? '-' : `${mechanism.class} ${mechanism.type}`],
    ...Object.entries(mechanism?.parameters ?? {}).map(
      ([key, value]) => [`  ${key}`, value] as const,
    ),
    ['addresses', `client ${view.addresses.client.join(', ') || '-'}`],
    ['', `endpoint ${view.addresses.endpoint.join(', ') || '-'}`],
    ['routes', `client ${routesText(view.routes.client)}`],
    ['', `endpoint ${routesText(view.routes.endpoint)}`],
    ['MTU', view.mtu === null ? "the data plane's choice" : String(view.mtu)],
    ['labels', labelsText(view.labels)],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, value]) => `  ${name.padEnd(width)}  ${printable(value)}`);
  const hops = formatTable(
    view.path.map((hop, index) => ({ ...hop, index })),
    [
      { title: 'HOP', cell: ({ index }) => index, align: 'right' },
      { title: 'NAME', cell: ({ name }) => name },
      { title: 'ID', cell: ({ id }) => id },
      { title: 'EXPIRES', cell: ({ expiresInMs }) => spanText(expiresInMs) },
      { title: '', cell: ({ index }) => (index === view.seenFrom ? '< told by' : '') },
    ],
    paint,
  );
  return `${paint('bold', `connection ${printable(view.id)}`)}\n${lines.join('\n')}\n\n${hops}`;
}

function closesText({ closesInMs, keptPeriods }: ConnectionView): string {
  const text = `${spanText(closesInMs)}, unless it is refreshed`;
  if (keptPeriods === 0) return text;
  return `${text} or alive then: it has expired and is kept, period ${keptPeriods}`;
}

function endpointText(name: string, entry: EndpointView | null): string {
  if (entry === null) return `${name}, not in the registry`;
  return `${name} at ${entry.url}${entry.node === null ? '' : ` on ${entry.node}`}`;
}

function routesText(routes: readonly RouteView[]): string {
  const texts = routes.map(({ prefix, nextHop }) =>
    nextHop === null ? prefix : `${prefix} via ${nextHop}`,
  );
  return texts.join(', ') || '-';
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.join(', ') || '-';
}
