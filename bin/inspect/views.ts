// What commands show of services, Endpoints and nodes. The field names are those of `-o json|yaml` and stay:
// docs/cli.md lists them. Times are ISO texts, spans of time milliseconds; what is not known is null.

import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { isDraining } from '../../protocols/nsm/draining.ts';
import { isNodeLease, leaseLabel, nodeLabel } from '../../protocols/nsm/node-lease.ts';

export interface ServiceView {
  readonly name: string;
  readonly payload: string;
  readonly endpoints: readonly string[];
  readonly matches: readonly {
    readonly sourceSelector: Readonly<Record<string, string>>;
    readonly destinationSelectors: readonly Readonly<Record<string, string>>[];
    readonly fallthrough: boolean;
  }[];
}

export interface EndpointView {
  readonly name: string;
  readonly services: readonly string[];
  readonly node: string | null;
  readonly url: string;
  /** By service. */
  readonly labels: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly registeredAt: string | null;
  readonly ageMs: number | null;
  readonly expiresAt: string | null;
  readonly expiresInMs: number | null;
}

export interface NodeView {
  readonly name: string;
  /** `noLease`: its manager is lost, or one of the reference, which has none. */
  readonly state: 'ready' | 'draining' | 'noLease';
  readonly manager: string | null;
  readonly url: string | null;
  readonly version: string | null;
  readonly startedAt: string | null;
  readonly ageMs: number | null;
  /** Since the manager renewed its lease. */
  readonly leaseAgeMs: number | null;
  readonly forwarders: readonly string[];
  readonly endpoints: readonly string[];
}

export function serviceViews(
  services: readonly NetworkService[],
  endpoints: readonly NetworkServiceEndpoint[],
): readonly ServiceView[] {
  return services.map(({ name, payload, matches }) => ({
    name,
    payload,
    endpoints: endpoints
      .filter(({ networkServiceNames }) => networkServiceNames.includes(name))
      .map((each) => each.name),
    matches: matches.map(({ sourceSelector, routes, fallthrough }) => ({
      sourceSelector,
      destinationSelectors: routes.map(({ destinationSelector }) => destinationSelector),
      fallthrough,
    })),
  }));
}

export function endpointView(endpoint: NetworkServiceEndpoint, nowEpochMs: number): EndpointView {
  const registeredMs = epochMsOf(endpoint.initialRegistrationTime);
  const expiresMs = epochMsOf(endpoint.expirationTime);
  return {
    name: endpoint.name,
    services: endpoint.networkServiceNames,
    node: labelOf(endpoint, nodeLabel.node),
    url: endpoint.url,
    labels: Object.fromEntries(
      Object.entries(endpoint.networkServiceLabels).map(([name, { labels }]) => [name, labels]),
    ),
    registeredAt: isoText(registeredMs),
    ageMs: registeredMs === null ? null : nowEpochMs - registeredMs,
    expiresAt: isoText(expiresMs),
    expiresInMs: expiresMs === null ? null : expiresMs - nowEpochMs,
  };
}

/** Nodes by their own entries, and those that only the labels of their Endpoints name. */
export function nodeViews(
  endpoints: readonly NetworkServiceEndpoint[],
  forwarderService: string,
  nowEpochMs: number,
): readonly NodeView[] {
  const entries = new Map<string, NetworkServiceEndpoint | undefined>();
  for (const endpoint of endpoints) {
    const node = labelOf(endpoint, nodeLabel.node);
    if (node === null) continue;
    if (isNodeLease(endpoint)) entries.set(node, endpoint);
    else if (!entries.has(node)) entries.set(node, undefined);
  }
  return [...entries.keys()].toSorted().map((name) => {
    const entry = entries.get(name);
    const label = (key: keyof typeof nodeLabel): string | null =>
      (entry && leaseLabel(entry, nodeLabel[key])) ?? null;
    const onNode = endpoints.filter(
      (each) => !isNodeLease(each) && labelOf(each, nodeLabel.node) === name,
    );
    const isForwarder = (each: NetworkServiceEndpoint): boolean =>
      each.networkServiceNames.includes(forwarderService);
    const startedMs = Number(label('incarnation') ?? Number.NaN);
    return {
      name,
      state: nodeState(entry),
      manager: label('manager'),
      url: label('url'),
      version: label('version'),
      startedAt: isoText(Number.isFinite(startedMs) ? startedMs : null),
      ageMs: Number.isFinite(startedMs) ? nowEpochMs - startedMs : null,
      leaseAgeMs: leaseAge(entry, nowEpochMs),
      forwarders: onNode.filter(isForwarder).map((each) => each.name),
      endpoints: onNode.filter((each) => !isForwarder(each)).map((each) => each.name),
    };
  });
}

function nodeState(entry: NetworkServiceEndpoint | undefined): NodeView['state'] {
  if (entry === undefined) return 'noLease';
  return isDraining(entry) ? 'draining' : 'ready';
}

function leaseAge(entry: NetworkServiceEndpoint | undefined, nowEpochMs: number): number | null {
  const endsMs = epochMsOf(entry?.expirationTime);
  const lifeMs = Number((entry && leaseLabel(entry, nodeLabel.leaseMs)) ?? Number.NaN);
  if (endsMs === null || !Number.isFinite(lifeMs)) return null;
  return Math.max(0, lifeMs - (endsMs - nowEpochMs));
}

/** The label under whichever service has it. */
function labelOf({ networkServiceLabels }: NetworkServiceEndpoint, key: string): string | null {
  for (const { labels } of Object.values(networkServiceLabels)) {
    if (Object.hasOwn(labels, key)) return labels[key] ?? null;
  }
  return null;
}

type Timestamp = Parameters<typeof timestampToEpochMs>[0] | undefined;

export const epochMsOf = (time: Timestamp): number | null =>
  time === undefined ? null : timestampToEpochMs(time);

/** A peer may send a time that no calendar has. */
export function isoText(epochMs: number | null): string | null {
  if (epochMs === null) return null;
  const date = new Date(epochMs);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
