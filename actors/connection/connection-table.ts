// Every connection of one process as it is intended to be: the memory that a restarted actor, a new monitor and,
// through the journal, the next life of the process resume from. An id has at most one record.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describeError, NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type ConnectionRecord,
  ConnectionRecordSchema,
  KeepingSchema,
  LeftHopSchema,
} from '../../protocols/nsm/gen/vwire_journal_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { HopMemory } from './hop.ts';
import type { Keeping } from './keeping.ts';
import { SegmentIndex } from './segment-index.ts';

/** A connection that this hop has established, or has begun to. */
export interface Intent {
  readonly connection: Connection;
  readonly preferences: readonly Mechanism[];
  readonly memory: HopMemory;
  /** When this hop closes it by itself, on the monotonic clock. */
  readonly closeAtMs: number;
  /** Absent where this hop closes whatever expires. */
  readonly keeping?: Keeping;
  readonly established: boolean;
}

export interface ConnectionTable {
  get(id: string): Intent | undefined;
  all(): IterableIterator<Intent>;
  /** Those with a path segment of that id. */
  withSegment(segmentId: string): Iterable<Intent>;
  readonly size: number;
  put(intent: Intent): Promise<void>;
  delete(id: string): Promise<void>;
  /** Fills the table from the journal; what another boot wrote counts from now with its remaining time unknown. */
  load(): Promise<readonly Intent[]>;
}

export interface ConnectionTableSetup {
  readonly journal?: Journal;
  readonly clock: Clock;
  /** Identifies the boot whose monotonic clock is meant. */
  readonly bootId: string;
  /** Longest time that an intent of another boot may still be worth: the maximum token lifetime. */
  readonly lifetimeMsMax: number;
  readonly log: Log;
}

/** What was half built may have been finished in a record that is lost: closing it would take down a healthy wire. */
const doubtful = 'a journal that is damaged says half built; its objects stay quarantined';

export function createConnectionTable(setup: ConnectionTableSetup): ConnectionTable {
  const intents = new Map<string, Intent>();
  const segments = new SegmentIndex();
  const set = (intent: Intent): void => {
    const { id } = intent.connection;
    segments.change(intents.get(id)?.connection, intent.connection);
    intents.set(id, intent);
  };
  return {
    get: (id) => intents.get(id),
    all: () => intents.values(),
    get size() {
      return intents.size;
    },
    *withSegment(segmentId) {
      for (const id of segments.connectionsOf(segmentId)) {
        const intent = intents.get(id);
        if (intent !== undefined) yield intent;
      }
    },
    async put(intent) {
      set(intent);
      await setup.journal?.put(intent.connection.id, encodeIntent(intent, setup.bootId));
    },
    async delete(id) {
      const intent = intents.get(id);
      if (intent === undefined) return;
      // The memory last: a deletion that the journal refused can be tried again.
      await setup.journal?.delete(id);
      segments.change(intents.get(id)?.connection, undefined);
      intents.delete(id);
    },
    async load() {
      if (setup.journal === undefined) return [];
      for (const [id, bytes] of await setup.journal.load()) {
        const intent = decodeIntent(id, bytes, setup);
        if (intent === undefined) continue;
        if (intent.established || !setup.journal.isDamaged) set(intent);
        else setup.log.warn(doubtful, { connectionId: id });
      }
      return [...intents.values()];
    },
  };
}

function encodeIntent(intent: Intent, bootId: string): Uint8Array {
  const memory: Record<string, string> = {};
  if (intent.memory.nextUrl !== undefined) memory['nextUrl'] = intent.memory.nextUrl;
  if (intent.memory.nextName !== undefined) memory['nextName'] = intent.memory.nextName;
  const { client, endpoint } = intent.memory.namespaces ?? {};
  if (client !== undefined) memory['clientNamespace'] = client;
  if (endpoint !== undefined) memory['endpointNamespace'] = endpoint;
  const record = create(ConnectionRecordSchema, {
    version: formats.connectionRecord,
    memory,
    bootId,
    closeAtMs: BigInt(Math.max(0, Math.round(intent.closeAtMs))),
    established: intent.established,
  });
  // Assigned, not passed to create: create would copy them, and unknown fields of a newer peer with them.
  record.connection = intent.connection;
  record.mechanismPreferences = [...intent.preferences];
  const { onwardMechanism, leaving } = intent.memory;
  if (onwardMechanism !== undefined) record.onwardMechanism = onwardMechanism;
  if (leaving !== undefined) {
    record.leaving = create(LeftHopSchema, { url: leaving.url });
    record.leaving.connection = leaving.connection;
  }
  if (intent.keeping !== undefined) record.keeping = keepingRecord(intent.keeping);
  return toBinary(ConnectionRecordSchema, record);
}

function keepingRecord({ periodMs, periods, packets, doubts = 0 }: Keeping) {
  return create(KeepingSchema, {
    periodMs: BigInt(Math.round(periodMs)),
    periods,
    packets: packets === undefined ? '' : String(packets),
    doubts,
  });
}

function keepingOf(record: ConnectionRecord): Keeping | undefined {
  if (record.keeping === undefined) return undefined;
  const { periodMs, periods, packets, doubts } = record.keeping;
  return {
    periodMs: Number(periodMs),
    periods,
    ...(packets === '' ? {} : { packets: BigInt(packets) }),
    ...(doubts === 0 ? {} : { doubts }),
  };
}

function decodeIntent(
  id: string,
  bytes: Uint8Array,
  setup: ConnectionTableSetup,
): Intent | undefined {
  try {
    const record = fromBinary(ConnectionRecordSchema, bytes);
    if (record.version > formats.connectionRecord || record.connection === undefined) {
      throw new NsmError(
        'DATA_LOSS',
        'the journal holds a connection that this version cannot read',
        {
          connectionId: id,
          expected: `record version <= ${formats.connectionRecord} with a connection`,
          found: `version ${record.version}`,
        },
      );
    }
    return intentFromRecord(record, record.connection, setup);
  } catch (error) {
    setup.log.error('a journaled connection could not be read; its objects stay quarantined', {
      connectionId: id,
      error: describeError(error),
    });
    return undefined;
  }
}

function intentFromRecord(
  record: ConnectionRecord,
  connection: Connection,
  setup: ConnectionTableSetup,
): Intent {
  const { nextUrl, nextName, clientNamespace, endpointNamespace } = record.memory;
  const { leaving: left } = record;
  const keeping = keepingOf(record);
  const sameBoot = record.bootId === setup.bootId;
  return {
    connection,
    preferences: record.mechanismPreferences,
    memory: {
      ...(nextUrl === undefined ? {} : { nextUrl }),
      ...(nextName === undefined ? {} : { nextName }),
      ...namespacesOf(clientNamespace, endpointNamespace),
      ...(record.onwardMechanism === undefined ? {} : { onwardMechanism: record.onwardMechanism }),
      ...(left?.connection === undefined
        ? {}
        : { leaving: { url: left.url, connection: left.connection } }),
    },
    closeAtMs: sameBoot ? Number(record.closeAtMs) : setup.clock.nowMs() + setup.lifetimeMsMax,
    ...(keeping && { keeping }),
    established: record.established,
  };
}

function namespacesOf(client: string | undefined, endpoint: string | undefined) {
  if (client === undefined && endpoint === undefined) return {};
  return {
    namespaces: {
      ...(client === undefined ? {} : { client }),
      ...(endpoint === undefined ? {} : { endpoint }),
    },
  };
}
