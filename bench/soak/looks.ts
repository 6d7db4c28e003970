// What the mesh holds, one line per thing, by place: of the kernel's objects in the nodes, of connections at managers and
// forwarders, and, once the Endpoints have ended, of what their journals keep. Places are compared with what they held
// at rest, by count: which wire an object belongs to may change while nothing is left over.

import { create } from '@bufbuild/protobuf';
import { join } from 'node:path';
import { decodeLeases } from '../../actors/nse/lease-records.ts';
import type { IdleLease } from '../../protocols/ipam/lease-book.ts';
import type { Platform } from '../../bin/roles/platform.ts';
import {
  ConnectionEventType,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import {
  ConnectionsRequestSchema,
  Inspection,
  StatusRequestSchema,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { openJournal } from '../../transports/journal/journal.ts';
import type { Stage } from '../chaos/stage.ts';

export type Holdings = ReadonlyMap<string, readonly string[]>;

const timeoutMs = 10_000;

/**
 * A manager shows a connection whose client vanished as DOWN until it expires, so it is only asked by those who can wait
 * for that. Rejects where a manager is away.
 */
export async function holdingsOf(
  stage: Stage,
  platform: Platform,
  options: { readonly withManagers: boolean },
): Promise<Holdings> {
  const held = new Map<string, string[]>();
  const add = (place: string, line: string): void =>
    void held.set(place, [...(held.get(place) ?? []), line]);
  for (const line of await stage.traces()) {
    const [node, kind] = line.split(' ');
    add(`${kind}s in ${node}`, line);
  }
  for (const node of stage.nodes) {
    const channel = platform.dialer.dial(stage.mesh.socketOf(node));
    const inspection = channel.client(Inspection);
    const { name, forwarders } = await inspection.status(create(StatusRequestSchema), {
      timeoutMs,
    });
    for (const { name: forwarder, status } of forwarders) {
      const place = `connections at ${forwarder}`;
      for (let at = 0; at < (status?.connections ?? 0); at += 1) {
        add(place, `connection at ${forwarder}`);
      }
      for (const id of status?.quarantined ?? []) {
        add(`quarantine at ${forwarder}`, `quarantined wire ${id} at ${forwarder}`);
      }
    }
    if (!options.withManagers) continue;
    const answer = await inspection.connections(create(ConnectionsRequestSchema), { timeoutMs });
    const clients = await clientsAt(platform, stage.mesh.socketOf(node));
    for (const { id } of answer.connections) {
      add(`connections at ${name}`, `connection of ${clients.get(id) ?? id} at ${name}`);
    }
  }
  return held;
}

/** Who the connections of a manager belong to, by id. */
async function clientsAt(platform: Platform, url: string): Promise<ReadonlyMap<string, string>> {
  const events = platform.dialer
    .dial(url)
    .client(MonitorConnection)
    .monitorConnections(create(MonitorScopeSelectorSchema), { timeoutMs });
  for await (const { type, connections } of events) {
    if (type !== ConnectionEventType.INITIAL_STATE_TRANSFER) continue;
    return new Map(
      Object.values(connections).map(({ id, path }) => [id, path?.pathSegments[0]?.id ?? id]),
    );
  }
  return new Map();
}

/** What is there beyond what was there at rest; where less is, that is said as well. */
export function differenceOf(
  atRest: Holdings,
  now: Holdings,
): { readonly over: readonly string[]; readonly missing: readonly string[] } {
  const over: string[] = [];
  const missing: string[] = [];
  for (const place of new Set([...atRest.keys(), ...now.keys()])) {
    const before = atRest.get(place) ?? [];
    const after = now.get(place) ?? [];
    const surplus = after.length - before.length;
    const unknown = after.filter((line) => !before.includes(line));
    if (surplus > 0) over.push(...[...unknown, ...after].slice(0, surplus));
    if (surplus < 0) missing.push(`${after.length} of ${before.length} ${place} are there`);
  }
  return { over, missing };
}

/**
 * What the journal of an Endpoint that has ended in order still holds of connections, and which leases it keeps for clients
 * not named. One whose time is over is free, and its record goes with the next Request or Close.
 */
export async function journaledAt(
  stateDir: string,
  endpoint: string,
  options: { readonly platform: Platform; readonly leaseholders: readonly string[] },
): Promise<readonly string[]> {
  const { clock, bootId } = options.platform;
  const recordsOf = async (suffix: string): Promise<ReadonlyMap<string, Uint8Array>> => {
    const journal = await openJournal({
      directory: join(stateDir, endpoint),
      name: `nse-${endpoint}${suffix}`,
      fsync: 'never',
      log: silentLog,
      clock,
    });
    const records = await journal.load();
    await journal.close();
    return records;
  };
  const connections = [...(await recordsOf('')).keys()];
  const setup = { clock, bootId, keepMs: Infinity, log: silentLog };
  const leases = decodeLeases(await recordsOf('-leases'), setup);
  const isKept = (lease: IdleLease): boolean => lease.keepUntilMs > clock.nowMs();
  return [
    ...connections.map((id) => `connection ${id} in the journal of ${endpoint}`),
    ...leases
      .filter(isKept)
      .filter(({ clientId }) => !options.leaseholders.some((name) => clientId.startsWith(name)))
      .map(({ clientId }) => `lease of ${clientId} at ${endpoint}`),
  ];
}
