// What a manager and a forwarder answer when `vwire status` and `vwire describe` ask them about themselves. A
// manager asks its forwarders in turn, so that one socket tells about the whole node. Invariant: an answer never
// waits longer than its caller, whatever the forwarders do.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { asNsmError, describeError, type ErrorCode } from '../../protocols/errors.ts';
import {
  ConnectionsReplySchema,
  type Forwarder,
  ForwarderSchema,
  Inspection,
  type StatusReply,
  StatusReplySchema,
  StatusRequestSchema,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { type CallContext, type ServedService, serve } from '../../protocols/ports/rpc.ts';
import type { Call } from '../../actors/connection/hop.ts';
import { version } from '../version.ts';
import type { Decisions } from '../../actors/selection/decisions.ts';
import type { AgedTable } from './connection-ages.ts';
import { decisionsReply } from './decision-replies.ts';
import type { Platform } from './platform.ts';

type StatusFields = Omit<MessageInitShape<typeof StatusReplySchema>, '$typeName' | '$unknown'>;

export interface InspectionSetup {
  readonly platform: Platform;
  readonly role: 'nsmgr' | 'forwarder';
  readonly name: string;
  readonly node: string;
  readonly table: AgedTable;
  readonly decisions: Decisions;
  /** Registered at this manager; absent at a forwarder. */
  readonly forwarders?: () => readonly NetworkServiceEndpoint[];
  /** What only this role knows. */
  readonly details: (call: CallContext) => Promise<StatusFields> | StatusFields;
}

export function inspectionService(setup: InspectionSetup): ServedService {
  const { platform, table } = setup;
  const startedMs = platform.clock.nowMs();
  const appVersion = version();
  return serve(Inspection, {
    async status(_, call) {
      return create(StatusReplySchema, {
        role: setup.role,
        name: setup.name,
        node: setup.node,
        version: appVersion,
        pid: process.pid,
        runningMs: milliseconds(platform.clock.nowMs() - startedMs),
        connections: table.size,
        ...busOf(platform),
        ...(await setup.details(call)),
      });
    },
    connections() {
      const nowMs = platform.clock.nowMs();
      const connections = [...table.all()].map(({ connection: { id }, closeAtMs, keeping }) => {
        const ageMs = table.ageMs(id);
        return {
          id,
          closesInMs: milliseconds(closeAtMs - nowMs),
          keptPeriods: keeping?.periods ?? 0,
          ...(ageMs === undefined ? {} : { ageMs: milliseconds(ageMs) }),
        };
      });
      return Promise.resolve(create(ConnectionsReplySchema, { connections }));
    },
    decisions: ({ key }, call) => decisionsReply(setup, key, call),
  });
}

const milliseconds = (value: number): bigint => BigInt(Math.max(0, Math.round(value)));

function busOf({ bus, natsUrl }: Platform): StatusFields {
  if (bus === undefined || natsUrl === undefined) return {};
  return { bus: { url: natsUrl.replace(/\/\/[^/@]*@/g, '//'), status: bus.status } };
}

/** Left to the manager for its own answer. */
const ownShareMs = 250;
const forwarderTimeoutMs = 2_000;

/**
 * Whether a process is there that answers, be it with a refusal or not knowing the call: one that hangs does neither. That
 * nobody listens is not silence, and found out by the next call at once. Served also while wires are still taken up.
 */
export function answersAt({
  clock,
  dialer,
}: Platform): (url: string, call: Call) => Promise<boolean> {
  return async (url, { deadlineMs, signal }) => {
    const timeoutMs = Math.max(1, deadlineMs - clock.nowMs());
    try {
      await dialer
        .dial(url)
        .client(Inspection)
        .status(create(StatusRequestSchema), { timeoutMs, signal });
      return true;
    } catch (error) {
      return !gaveUp.has(asNsmError(error).code);
    }
  };
}

const gaveUp: ReadonlySet<ErrorCode> = new Set(['DEADLINE_EXCEEDED', 'CANCELLED']);

/** Asks all at once. */
export function askForwarders(
  { clock, dialer }: Platform,
  forwarders: readonly NetworkServiceEndpoint[],
  call: CallContext,
): Promise<readonly Forwarder[]> {
  const leftMs = call.deadlineMs - clock.nowMs() - ownShareMs;
  const timeoutMs = Math.max(1, Math.min(forwarderTimeoutMs, leftMs));
  return Promise.all(
    forwarders.map(async ({ name, url }) => {
      try {
        const client = dialer.dial(url).client(Inspection);
        const status: StatusReply = await client.status(create(StatusRequestSchema), {
          timeoutMs,
          signal: call.signal,
        });
        return create(ForwarderSchema, { name, url, status });
      } catch (error) {
        const isForeign = asNsmError(error).code === 'UNIMPLEMENTED';
        return create(ForwarderSchema, {
          name,
          url,
          isForeign,
          error: isForeign ? '' : describeError(error),
        });
      }
    }),
  );
}
