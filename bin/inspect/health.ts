// What is wrong with a node, part by part, and what to do about it. Pure but for the questions that it asks.
// Invariant: a part that cannot be judged is unknown, never fine.

import { asNsmError, describeError } from '../../protocols/errors.ts';
import type { Forwarder, StatusReply } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import type { ConnectionView } from './connection-view.ts';
import { spanText } from './durations.ts';
import type { MeshClient } from './mesh-client.ts';

/** `note`: abnormal, but being taken care of. Only `wrong` makes a node unhealthy. */
export type PartState = 'ok' | 'note' | 'wrong' | 'unknown';

export interface PartView {
  readonly part:
    | 'manager'
    | 'bus'
    | 'registry'
    | 'forwarder'
    | 'connections'
    | 'discovery'
    | 'wires';
  readonly name: string;
  readonly state: PartState;
  readonly found: string;
  readonly remedy: string | null;
}

export interface HealthView {
  readonly isHealthy: boolean;
  readonly manager: string;
  readonly node: string | null;
  readonly parts: readonly PartView[];
  /** By state; states without a connection are left out. */
  readonly connections: Readonly<Record<string, number>>;
  readonly staleServices: readonly string[];
  /** Ids of wires that no recorded intent explains. */
  readonly quarantined: readonly string[];
}

export interface Findings {
  readonly url: string;
  /** `foreign`: it answered, but speaks no inspection. */
  readonly status: StatusReply | 'foreign';
  /** Number of services, or why there is no answer. */
  readonly registry: number | Error;
  readonly connections: readonly ConnectionView[];
}

export async function examine(
  mesh: MeshClient,
  connectionsOf: (mesh: MeshClient) => Promise<readonly ConnectionView[]>,
): Promise<HealthView> {
  const [status, connections, registry] = await Promise.all([
    mesh.status(),
    connectionsOf(mesh),
    mesh.services().then((services) => services.length, asNsmError),
  ]);
  return healthOf({ url: mesh.url, status: status ?? 'foreign', registry, connections });
}

/** The health of a node whose manager does not answer. */
export function withoutManager(url: string, error: unknown): HealthView {
  const { message, details } = asNsmError(error);
  const found = details.found === undefined ? message : `${message}: ${details.found}`;
  return {
    isHealthy: false,
    manager: url,
    node: null,
    parts: [wrong('manager', url, found, details.remedy ?? null)],
    connections: {},
    staleServices: [],
    quarantined: [],
  };
}

export function healthOf({ url, status, registry, connections }: Findings): HealthView {
  const told = status === 'foreign' ? undefined : status;
  const quarantined = (told?.forwarders ?? []).flatMap((each) => each.status?.quarantined ?? []);
  const counts: Record<string, number> = {};
  for (const { state } of connections) counts[state] = (counts[state] ?? 0) + 1;
  const parts = [
    managerPart(url, told),
    busPart(told),
    registryPart(told, registry),
    ...forwarderParts(told),
    connectionsPart(counts, connections),
    ...discoveryParts(told?.staleServices ?? []),
    ...quarantineParts(quarantined),
    ...stuckParts(told),
  ];
  return {
    isHealthy: parts.every(({ state }) => state !== 'wrong'),
    manager: url,
    node: told?.node || null,
    parts,
    connections: counts,
    staleServices: told?.staleServices ?? [],
    quarantined,
  };
}

type Part = PartView['part'];

const ok = (part: Part, name: string, found: string): PartView => ({
  part,
  name,
  state: 'ok',
  found,
  remedy: null,
});

const unknown = (part: Part): PartView => ({
  part,
  name: '-',
  state: 'unknown',
  found: 'the manager does not say',
  remedy: null,
});

const note = (part: Part, name: string, found: string, remedy: string | null = null): PartView => ({
  part,
  name,
  state: 'note',
  found,
  remedy,
});

const wrong = (part: Part, name: string, found: string, remedy: string | null): PartView => ({
  part,
  name,
  state: 'wrong',
  found,
  remedy,
});

function managerPart(url: string, told: StatusReply | undefined): PartView {
  if (told === undefined) {
    return note('manager', url, 'answers, but tells nothing about itself: not one of vwire');
  }
  const span = spanText(Number(told.runningMs));
  const found = `version ${told.version}, process ${told.pid}, running for ${span}`;
  return ok('manager', told.name, found);
}

function busPart(told: StatusReply | undefined): PartView {
  if (told === undefined) return unknown('bus');
  const { bus } = told;
  if (bus === undefined) return ok('bus', '-', 'none is used');
  if (bus.status === 'connected') return ok('bus', bus.url, 'connected');
  const remedy = 'start nats-server there again; wires keep carrying packets meanwhile';
  return wrong('bus', bus.url, bus.status, remedy);
}

function registryPart(told: StatusReply | undefined, registry: number | Error): PartView {
  const name = told?.registryUrl ?? '-';
  if (typeof registry === 'number') return ok('registry', name, `${registry} services`);
  const remedy = 'start the registry again; what is connected stays connected';
  return wrong('registry', name, describeError(registry), remedy);
}

function forwarderParts(told: StatusReply | undefined): readonly PartView[] {
  if (told === undefined) return [unknown('forwarder')];
  if (told.forwarders.length > 0) return told.forwarders.map(forwarderPart);
  const remedy =
    'read forwarder.log in the state directory; it needs CAP_NET_ADMIN and CAP_SYS_ADMIN';
  return [wrong('forwarder', '-', 'none is registered at this manager', remedy)];
}

function forwarderPart({ name, status, error, isForeign }: Forwarder): PartView {
  if (isForeign) return note('forwarder', name, 'answers, but is not one of vwire');
  if (status === undefined) {
    const remedy = 'read its log; nodes start their forwarder again by themselves';
    return wrong('forwarder', name, error, remedy);
  }
  const found = `${status.dataplane} data plane, ${status.connections} wires, process ${status.pid}`;
  return ok('forwarder', name, `${found}${repairsText(status)}`);
}

/** What somebody else has done to its wires, and it has put right. */
function repairsText({ repairs, lastRepair: last }: StatusReply): string {
  if (last === undefined) return '';
  const times = repairs === 1 ? 'one repair' : `${repairs} repairs`;
  const ago = spanText(Number(last.agoMs));
  return `, ${times}, the last ${ago} ago of ${last.connectionId}: ${last.found.join(', ')}`;
}

function connectionsPart(
  counts: Readonly<Record<string, number>>,
  connections: readonly ConnectionView[],
): PartView {
  const texts = Object.entries(counts).map(([state, count]) => `${count} ${state}`);
  const down = connections.filter(({ state }) => state === 'DOWN').map(({ id }) => id);
  const found = texts.join(', ') || 'none';
  if (down.length === 0) return ok('connections', '-', found);
  const remedy = 'their clients repair them; see one with "vwire describe connection ID"';
  return wrong('connections', down.slice(0, 5).join(', '), found, remedy);
}

function discoveryParts(stale: readonly string[]): readonly PartView[] {
  if (stale.length === 0) return [];
  const found = 'the registry is away; the Endpoints known before stay in use';
  return [note('discovery', stale.slice(0, 5).join(', '), found)];
}

function quarantineParts(ids: readonly string[]): readonly PartView[] {
  if (ids.length === 0) return [];
  const found = `${ids.length} in quarantine: no recorded intent explains them`;
  const remedy = 'nothing: a refresh claims each, or its last expiry ends it';
  return [note('wires', ids.slice(0, 5).join(', '), found, remedy)];
}

function stuckParts(told: StatusReply | undefined): readonly PartView[] {
  return (told?.stuck ?? []).slice(0, 5).map(({ id, why }) => {
    const remedy = 'start an Endpoint that fits; its client moves there by itself';
    return note('connections', id, why, remedy);
  });
}
