// What commands show of a connection, and how a person may name one: by the id of any hop of its path, or by the
// beginning of one. The field names are those of `-o json|yaml`. Invariant: tokens are never shown.

import { NsmError } from '../../protocols/errors.ts';
import type {
  Connection,
  Mechanism,
  PathSegment,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { IPContext } from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import type { ConnectionDetail } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import { nearestName } from '../commands/nearest-name.ts';
import { epochMsOf, isoText } from './views.ts';

export interface HopView {
  readonly name: string;
  readonly id: string;
  readonly expiresAt: string | null;
  readonly expiresInMs: number | null;
}

export interface RouteView {
  readonly prefix: string;
  readonly nextHop: string | null;
}

export interface ConnectionView {
  /** Of the client's own segment: the same at every hop and in every refresh. */
  readonly id: string;
  readonly state: 'UP' | 'DOWN' | 'REFRESH_REQUESTED' | 'RESELECT_REQUESTED' | 'UNKNOWN';
  readonly networkService: string;
  readonly client: string;
  readonly endpoint: string;
  readonly payload: string;
  readonly mtu: number | null;
  readonly mechanism: {
    readonly class: string;
    readonly type: string;
    readonly parameters: Readonly<Record<string, string>>;
  } | null;
  readonly addresses: { readonly client: readonly string[]; readonly endpoint: readonly string[] };
  readonly routes: {
    readonly client: readonly RouteView[];
    readonly endpoint: readonly RouteView[];
  };
  readonly labels: Readonly<Record<string, string>>;
  readonly path: readonly HopView[];
  /** Position in the path of the manager that told this. */
  readonly seenFrom: number;
  readonly ageMs: number | null;
  /** Until the first hop of the path expires. */
  readonly expiresInMs: number | null;
  /** Until the manager that told this closes it. */
  readonly closesInMs: number | null;
  /** Periods for which that manager has kept it beyond its expiry, since its wire is alive. */
  readonly keptPeriods: number;
}

export function connectionView(
  connection: Connection,
  detail: ConnectionDetail | undefined,
  nowEpochMs: number,
): ConnectionView {
  const { context, path } = connection;
  const hops = (path?.pathSegments ?? []).map((segment) => hopView(segment, nowEpochMs));
  const times = hops.flatMap(({ expiresInMs }) => expiresInMs ?? []);
  const [client] = hops;
  return {
    id: client?.id ?? connection.id,
    state: stateName(connection.state),
    networkService: connection.networkService,
    client: client?.name ?? '',
    endpoint: connection.networkServiceEndpointName,
    payload: connection.payload,
    mtu: context?.MTU || null,
    mechanism: mechanismView(connection.mechanism),
    ...addressing(context?.ipContext),
    labels: connection.labels,
    path: hops,
    seenFrom: path?.index ?? 0,
    expiresInMs: times.length === 0 ? null : Math.min(...times),
    ...detailOf(detail),
  };
}

function detailOf(
  detail: ConnectionDetail | undefined,
): Pick<ConnectionView, 'ageMs' | 'closesInMs' | 'keptPeriods'> {
  return {
    ageMs: detail?.ageMs === undefined ? null : Number(detail.ageMs),
    closesInMs: detail === undefined ? null : Number(detail.closesInMs),
    keptPeriods: detail?.keptPeriods ?? 0,
  };
}

function hopView({ name, id, expires }: PathSegment, nowEpochMs: number): HopView {
  const expiresMs = epochMsOf(expires);
  const expiresInMs = expiresMs === null ? null : expiresMs - nowEpochMs;
  return { name, id, expiresAt: isoText(expiresMs), expiresInMs };
}

function mechanismView(mechanism: Mechanism | undefined): ConnectionView['mechanism'] {
  if (mechanism === undefined) return null;
  return { class: mechanism.cls, type: mechanism.type, parameters: mechanism.parameters };
}

function addressing(ip: IPContext | undefined): Pick<ConnectionView, 'addresses' | 'routes'> {
  return {
    addresses: { client: ip?.srcIpAddrs ?? [], endpoint: ip?.dstIpAddrs ?? [] },
    routes: { client: routes(ip?.srcRoutes), endpoint: routes(ip?.dstRoutes) },
  };
}

/** By the numbers of the protocol. */
const stateNames = ['UP', 'DOWN', 'REFRESH_REQUESTED', 'RESELECT_REQUESTED'] as const;

/** A newer peer may send a state of its own. */
function stateName(state: State): ConnectionView['state'] {
  return stateNames[state] ?? 'UNKNOWN';
}

function routes(
  list: readonly { readonly prefix: string; readonly nextHop: string }[] = [],
): readonly RouteView[] {
  return list.map(({ prefix, nextHop }) => ({ prefix, nextHop: nextHop || null }));
}

/** By id, and those of one chain in the order of their way. */
export function byWay(left: ConnectionView, right: ConnectionView): number {
  if (left.id !== right.id) return left.id < right.id ? -1 : 1;
  return left.seenFrom - right.seenFrom;
}

/** Errors: NOT_FOUND naming near ids, INVALID_ARGUMENT where several begin so. */
export function findConnection(
  connections: readonly ConnectionView[],
  wanted: string,
): ConnectionView {
  const idsOf = (view: ConnectionView): readonly string[] => [
    view.id,
    ...view.path.map(({ id }) => id),
  ];
  const exact = connections.filter((view) => idsOf(view).includes(wanted));
  const begins = connections.filter((view) => idsOf(view).some((id) => id.startsWith(wanted)));
  const found = exact.length > 0 || wanted === '' ? exact : begins;
  // A chain of Endpoints passes a manager several times, under one client's id: where it came by first tells most.
  const [first] = found.toSorted(byWay);
  const ids = connections.map(({ id }) => id);
  if (first !== undefined && found.every(({ id }) => id === first.id)) return first;
  if (first !== undefined) {
    throw new NsmError(
      'INVALID_ARGUMENT',
      `"${wanted}" begins the ids of ${found.length} connections`,
      {
        expected: 'more of the id',
        found: shortList(found.map((view) => view.id)),
      },
    );
  }
  const near = nearestName(wanted, ids);
  throw new NsmError('NOT_FOUND', `the manager holds no connection "${wanted}"`, {
    found: ids.length === 0 ? 'no connections at all' : shortList(ids),
    remedy:
      near === undefined
        ? 'list them with "vwire get connections"; ask the manager of the client\'s own node'
        : `did you mean ${near}?`,
  });
}

const idsShownMax = 5;

function shortList(ids: readonly string[]): string {
  const more = ids.length - idsShownMax;
  return `${ids.slice(0, idsShownMax).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
