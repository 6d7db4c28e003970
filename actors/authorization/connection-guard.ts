// The rules before NetworkService and MonitorConnection of a hop. NSM concept: the reference's authorize elements, with
// its monitor policy in force. What a hop has established says whose a connection is: the token of the segment before it,
// which its journal keeps, so no list of owners can grow or be lost.
// Invariants: nothing is awaited before a call goes on, so calls keep their order; a Close is never refused to the hop
// before, whatever became of its token; of somebody else's connection nobody learns anything.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { accessPolicy, hopAllowed } from '../../protocols/authorization/access-policy.ts';
import type { Finding } from '../../protocols/authorization/finding.ts';
import { connectionOwner, serviceConnection } from '../../protocols/authorization/owner-rules.ts';
import { serverRules } from '../../protocols/authorization/token-rules.ts';
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventType,
  type MonitorConnection,
  type MonitorScopeSelector,
  type PathSegment,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import { earliest, timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { isUnanswered, previousSegment, withSegment } from '../../protocols/nsm/path.ts';
import type { CallContext, ServiceHandler } from '../../protocols/ports/rpc.ts';
import type { ConnectionTable } from '../connection/connection-table.ts';
import type { TokenSource } from '../connection/tokens.ts';
import type { Authority, Subject } from './authority.ts';
import { present, type Presented } from './presented.ts';

export interface ConnectionGuardSetup {
  readonly authority: Authority;
  readonly table: Pick<ConnectionTable, 'get' | 'withSegment'>;
}

export function guardNetworkService(
  inner: ServiceHandler<typeof NetworkService>,
  setup: ConnectionGuardSetup,
): ServiceHandler<typeof NetworkService> {
  const { authority } = setup;
  const presentedBy = (connection: Connection | undefined, context: CallContext): Presented => {
    try {
      return present(connection, context, authority.setup);
    } catch (thrown) {
      const error = asNsmError(thrown);
      throw new NsmError(error.code, error.message, {
        ...error.details,
        hop: authority.setup.hop,
        cause: error,
      });
    }
  };
  return {
    request: async (message, context) => {
      if (authority.isOwn(context)) return inner.request(message, context);
      const presented = presentedBy(message.connection, context);
      judgeRequest(setup, presented, context);
      const request = { ...message, connection: presented.connection };
      const answer = await inner.request(request, presented.context);
      return signedForCaller(answer, context, authority.setup.tokens);
    },
    close: async (message, context) => {
      if (authority.isOwn(context)) return inner.close(message, context);
      const presented = presentedBy(message, context);
      judgeClose(setup, presented, context);
      return inner.close(presented.connection, presented.context);
    },
  };
}

/**
 * The hop's own segment comes back with the token that it had for the next hop, signed with the key of the moment. A caller
 * whose connection is from before a renewal could not verify that.
 */
function signedForCaller(
  answer: Connection,
  { peer }: CallContext,
  tokens: TokenSource,
): Connection {
  const own = (answer.path?.index ?? 0) + 1;
  const { token = '', expires } = answer.path?.pathSegments[own] ?? {};
  const signed = token === '' ? undefined : tokens.resign?.(token, peer);
  if (signed === undefined) return answer;
  const ends = earliest(expires, timestampFromEpochMs(signed.expiresAtEpochMs));
  return withSegment(answer, own, { token: signed.token, ...(ends && { expires: ends }) });
}

function judgeRequest(
  setup: ConnectionGuardSetup,
  presented: Presented,
  caller: CallContext,
): void {
  const { authority } = setup;
  const { connection, tokens, entered } = presented;
  const { reader, wallClock, policy } = authority.setup;
  const client = reader.subjectOf(tokens[0] ?? '');
  const subject: Subject = { ...about('Request', presented), ...(client && { client }), caller };
  const peer = authority.peerOf(subject);
  const nowEpochMs = wallClock.epochMs();
  const view = { tokens, peer, self: authority.self, nowEpochMs };
  const stored = setup.table.get(entered.id)?.connection;
  const byRules =
    serverRules(view, reader) ?? ownerFinding(setup, stored, presented, peer.spiffeId);
  const { networkService: service, labels } = connection;
  authority.settle(
    subject,
    byRules,
    byRules ??
      (tokens.length > 1 ? hopAllowed(policy(), peer.spiffeId) : undefined) ??
      accessPolicy(policy(), {
        operation: 'request',
        client: client ?? peer.spiffeId,
        service,
        labels,
      }) ??
      authority.byOperator(subject, peer, { tokens, labels }),
  );
}

/** A Close of what is not there is granted: it does nothing. */
function judgeClose(setup: ConnectionGuardSetup, presented: Presented, caller: CallContext): void {
  const { authority, table } = setup;
  const { connection, tokens, entered } = presented;
  const { labels } = connection;
  const subject: Subject = { ...about('Close', presented), caller };
  const peer = authority.peerOf(subject);
  const stored = table.get(entered.id)?.connection;
  const finding = isUnanswered(connection)
    ? behindFinding(setup, entered, peer.spiffeId)
    : ownerFinding(setup, stored, presented, peer.spiffeId);
  authority.settle(
    subject,
    finding,
    finding ?? authority.byOperator(subject, peer, { tokens, labels }),
  );
  // Its first Request stands under the caller's id, what came later under the one of this hop.
  for (const connectionId of new Set([connection.id, subject.connectionId ?? ''])) {
    authority.setup.trail.ended({ connectionId, peer: peer.spiffeId });
  }
}

function about(
  operation: string,
  { connection, entered }: Presented,
): Pick<Subject, 'operation' | 'service' | 'connectionId'> {
  // A first Request has no id here yet: it is known by that of its caller.
  const connectionId = entered.id === '' ? connection.id : entered.id;
  return { operation, service: connection.networkService, connectionId };
}

function ownerFinding(
  { authority }: ConnectionGuardSetup,
  stored: Connection | undefined,
  { entered }: Presented,
  peer: string,
): Finding | undefined {
  if (stored === undefined) return undefined;
  const { reader } = authority.setup;
  const owner = reader.subjectOf(previousSegment(stored)?.token ?? '');
  const before = (stored.path?.index ?? 0) - 1;
  const isSameSegment = (known: PathSegment, at: number): boolean => {
    const shown = entered.path?.pathSegments[at];
    return (
      shown?.id === known.id &&
      shown.name === known.name &&
      reader.subjectOf(shown.token) === reader.subjectOf(known.token)
    );
  };
  const segmentsBefore = stored.path?.pathSegments.slice(0, Math.max(0, before)) ?? [];
  const isSamePathBefore =
    before > 0 && entered.path?.index === before + 1 && segmentsBefore.every(isSameSegment);
  return connectionOwner({ owner, peer, isSamePathBefore });
}

/** Of a Close that names no connection of this hop: what stands behind the caller's segment must not all be others'. */
function behindFinding(
  { authority, table }: ConnectionGuardSetup,
  entered: Connection,
  peer: string,
): Finding | undefined {
  const caller = previousSegment(entered);
  let finding: Finding | undefined;
  for (const { connection } of table.withSegment(caller?.id ?? '')) {
    const previous = previousSegment(connection);
    if (previous?.id !== caller?.id || previous?.name !== caller?.name) continue;
    const owner = authority.setup.reader.subjectOf(previous?.token ?? '');
    const found = connectionOwner({ owner, peer, isSamePathBefore: false });
    if (found === undefined) return undefined;
    finding = found;
  }
  return finding;
}

export function guardMonitor(
  inner: ServiceHandler<typeof MonitorConnection>,
  setup: ConnectionGuardSetup,
): ServiceHandler<typeof MonitorConnection> {
  const { authority } = setup;
  return {
    async *monitorConnections(selector, context) {
      const events = inner.monitorConnections(selector, context);
      if (authority.isOwn(context)) {
        yield* events;
        return;
      }
      const peer = judgeMonitor(setup, selector, context);
      for await (const event of events) {
        const shown = authority.isOperator(peer) ? event : visibleTo(authority, event, peer);
        if (shown !== undefined) yield shown;
      }
    },
  };
}

function judgeMonitor(
  setup: ConnectionGuardSetup,
  { pathSegments, networkServices }: MonitorScopeSelector,
  caller: CallContext,
): string {
  const { authority, table } = setup;
  const ids = pathSegments.flatMap(({ id }) => (id === '' ? [] : [id]));
  const subject: Subject = {
    operation: 'MonitorConnections',
    ...(ids[0] === undefined ? {} : { connectionId: ids[0] }),
    ...(networkServices[0] === undefined ? {} : { service: networkServices[0] }),
    caller,
  };
  const peer = authority.peerOf(subject);
  const { spiffeId } = peer;
  const owners = ids.flatMap((id) =>
    [...table.withSegment(id)].map(({ connection }) =>
      standsIn(authority, connection, spiffeId) ? spiffeId : undefined,
    ),
  );
  const isFree = authority.isOperator(spiffeId);
  const byRules = isFree ? undefined : serviceConnection(owners, spiffeId);
  const selected = { tokens: [], connectionIds: ids, services: networkServices };
  authority.settle(subject, byRules, byRules ?? authority.byOperator(subject, peer, selected));
  return spiffeId;
}

/** Whether a hop of that id stands in the path. */
function standsIn({ setup }: Authority, { path }: Connection, spiffeId: string): boolean {
  return (
    path?.pathSegments.some(({ token }) => setup.reader.subjectOf(token) === spiffeId) ?? false
  );
}

/** The event without what belongs to others. An initial transfer is told also where it is empty. */
function visibleTo(
  authority: Authority,
  event: ConnectionEvent,
  peer: string,
): ConnectionEvent | undefined {
  const all = Object.entries(event.connections);
  const shown = all.filter(([, connection]) => standsIn(authority, connection, peer));
  if (shown.length === all.length) return event;
  if (shown.length === 0 && event.type !== ConnectionEventType.INITIAL_STATE_TRANSFER) {
    return undefined;
  }
  return { ...event, connections: Object.fromEntries(shown) };
}
