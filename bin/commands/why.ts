// `vwire why`: explains a choice, from the record of the processes that made it, from a file that holds such a record, or
// as it would be made now. Fields of `-o json|yaml`: docs/cli.md.

import { readFile } from 'node:fs/promises';
import { NsmError } from '../../protocols/errors.ts';
import { type ConnectionView, findConnection } from '../inspect/connection-view.ts';
import { whyText } from '../inspect/decision-text.ts';
import { decisionView, readWhyFile, type WhyView } from '../inspect/decision-view.ts';
import { type MeshClient, withMesh } from '../inspect/mesh-client.ts';
import { managerUrl } from '../inspect/where.ts';
import { wouldChoose } from '../inspect/would-choose.ts';
import { formatValue } from '../output/print.ts';
import { withProgress } from '../output/progress.ts';
import { type ParsedArguments, parseArguments, UsageError } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { connectionViews, forwarderServiceName } from './get.ts';
import { outputFormat } from './output-format.ts';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('why', args);
  const format = outputFormat(parsed);
  const view = await answer(parsed);
  process.stdout.write(format === 'table' ? whyText(view) : formatValue(view, format));
  return exitCodes.ok;
}

async function answer(parsed: ParsedArguments): Promise<WhyView> {
  const [id] = parsed.operands;
  const { service, offline, label } = parsed.options;
  const named = [id, service, offline].filter((each) => typeof each === 'string');
  if (named.length !== 1) {
    throw new UsageError('name one of: an id, --service, --offline\nTry: vwire why --help');
  }
  if (label !== undefined && service === undefined) {
    throw new UsageError('--label says what a client of --service would have; name the service');
  }
  if (typeof offline === 'string') return readWhyFile(await contentOf(offline), offline);
  const labels = labelsOf(label);
  const url = managerUrl(parsed);
  const ask = (mesh: MeshClient): Promise<WhyView> =>
    typeof service === 'string' ? askWould(mesh, service, labels) : askRecord(mesh, id ?? '');
  return withProgress(`asking the manager at ${url}`, () => withMesh(url, ask));
}

async function contentOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new NsmError('NOT_FOUND', `cannot read ${file}`, {
      expected: 'a readable file with a recorded decision',
      found: (error as NodeJS.ErrnoException).code ?? String(error),
    });
  }
}

/** `key=value`, as often as given; values may hold anything but a comma. */
function labelsOf(option: string | true | undefined): Readonly<Record<string, string>> {
  if (typeof option !== 'string') return {};
  const pairs = option.split(',').map((pair) => {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (key === undefined || value === undefined) {
      throw new UsageError(`--label wants key=value, not "${pair}"\nTry: vwire why --help`);
    }
    return [key, value] as const;
  });
  return Object.fromEntries(pairs);
}

async function askWould(
  mesh: MeshClient,
  service: string,
  labels: Readonly<Record<string, string>>,
): Promise<WhyView> {
  const [services, endpoints, status] = await Promise.all([
    mesh.services(),
    mesh.endpoints(),
    mesh.status(),
  ]);
  const forwarders = status && new Set(status.forwarders.map(({ name }) => name));
  const now = { services, endpoints, forwarders, forwarderService: forwarderServiceName };
  const decisions = wouldChoose({ ...now, nowEpochMs: Date.now() }, { service, labels });
  return { asked: service, decisions: [...decisions], unheard: [] };
}

async function askRecord(mesh: MeshClient, id: string): Promise<WhyView> {
  const exact = await mesh.decisions(id);
  if (exact === undefined) throw foreign(mesh.url);
  if (exact.decisions.length > 0) return viewOf(id, exact);
  const connection = findConnection(await connectionViews(mesh), id);
  const found = await mesh.decisions(connection.id);
  if (found === undefined || found.decisions.length === 0) throw forgotten(connection);
  return viewOf(connection.id, found);
}

type Recorded = NonNullable<Awaited<ReturnType<MeshClient['decisions']>>>;

const viewOf = (asked: string, { decisions, unheard }: Recorded): WhyView => ({
  asked,
  decisions: decisions.map(decisionView),
  unheard,
});

function foreign(url: string): NsmError {
  return new NsmError('UNIMPLEMENTED', `the manager at ${url} records no decisions`, {
    found: 'a manager of the reference, or an older version',
    remedy: 'vwire why --service NAME --label key=value tells what would be chosen now',
  });
}

function forgotten({ id, networkService, labels }: ConnectionView): NsmError {
  const given = Object.entries(labels).map(([key, value]) => ` --label ${key}=${value}`);
  return new NsmError('NOT_FOUND', `nobody remembers how connection ${id} was decided`, {
    expected: 'one of the last 1,000 decisions of a process that still runs',
    remedy: `what would be chosen now: vwire why --service ${networkService}${given.join('')}`,
  });
}
