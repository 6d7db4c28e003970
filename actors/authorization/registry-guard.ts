// The rules before both NSM registries of a registry or a manager, and the step of the registry path, which travels in the
// metadata `path`: the caller's token and an own one are put into it on the way in, on the way out the caller gets its own
// view back. NSM concept: the registries' authorize and updatepath elements.
// Whose a name is stands in the entry itself (`path_ids`): it is kept as long as the entry, over restarts and by every
// replica, and a name is free when its entry is gone, also by expiry.

import { create, equals } from '@bufbuild/protobuf';
import {
  accessPolicy,
  hopAllowed,
  matchesAny,
} from '../../protocols/authorization/access-policy.ts';
import type { Finding } from '../../protocols/authorization/finding.ts';
import { clientAllowed } from '../../protocols/authorization/owner-rules.ts';
import type { PolicyOffer } from '../../protocols/authorization/operator-policy.ts';
import { type ProvenPeer, serverRules } from '../../protocols/authorization/token-rules.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  type NetworkServiceEndpointRegistry,
  type NetworkServiceRegistry,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { CallContext, ServiceHandler } from '../../protocols/ports/rpc.ts';
import {
  formatRegistryPath,
  parseRegistryPath,
  registryPathHeader,
} from '../../protocols/registry/registry-path.ts';
import {
  allRegistryPolicies,
  type RegistryPolicies,
} from '../../protocols/authorization/registry-policies.ts';
import type { Authority, Subject } from './authority.ts';
import { withHeaders } from './presented.ts';

export interface RegistryGuardSetup {
  readonly authority: Authority;
  /** What is registered under a name; undefined: nothing, or only another registry knows. */
  readonly service: (name: string, context: CallContext) => Promise<NetworkService | undefined>;
  readonly endpoint: (
    name: string,
    context: CallContext,
  ) => Promise<NetworkServiceEndpoint | undefined>;
  /** Rules of the reference that are asked; all of them where it is absent. */
  readonly policies?: RegistryPolicies;
}

export function guardServiceRegistry(
  inner: ServiceHandler<typeof NetworkServiceRegistry>,
  setup: RegistryGuardSetup,
): ServiceHandler<typeof NetworkServiceRegistry> {
  const { authority } = setup;
  const desk = new Desk(setup);
  const offers = (service: NetworkService) => [{ service: service.name, labels: {} }];
  return {
    register: async (service, context) => {
      if (authority.isOwn(context)) return inner.register(service, context);
      const known = await setup.service(service.name, context);
      // Replicas of an Endpoint describe the same service; whoever changes nothing needs no right to.
      const same = known !== undefined && isSameService(known, service) ? known : undefined;
      const owned = same === undefined ? known : undefined;
      const call = { operation: 'Register', entry: service, known: owned, context, offers };
      return desk.admit(call, (admitted, stepped) =>
        same === undefined ? inner.register(admitted, stepped) : answeredAsItIs(same, stepped),
      );
    },
    unregister: async (service, context) => {
      if (authority.isOwn(context)) return inner.unregister(service, context);
      const known = await setup.service(service.name, context);
      const call = { operation: 'Unregister', entry: service, known, context };
      return desk.admit(call, (admitted, stepped) => inner.unregister(admitted, stepped));
    },
    find: (query, context) => found(authority, context, () => inner.find(query, context)),
  };
}

export function guardEndpointRegistry(
  inner: ServiceHandler<typeof NetworkServiceEndpointRegistry>,
  setup: RegistryGuardSetup,
): ServiceHandler<typeof NetworkServiceEndpointRegistry> {
  const { authority } = setup;
  const desk = new Desk(setup);
  const offers = (endpoint: NetworkServiceEndpoint) =>
    endpoint.networkServiceNames.map((service) => ({
      service,
      labels: endpoint.networkServiceLabels[service]?.labels ?? {},
    }));
  return {
    register: async (endpoint, context) => {
      if (authority.isOwn(context)) return inner.register(endpoint, context);
      const known = await setup.endpoint(endpoint.name, context);
      const call = { operation: 'Register', entry: endpoint, known, context, offers };
      return desk.admit(call, (admitted, stepped) => inner.register(admitted, stepped));
    },
    unregister: async (endpoint, context) => {
      if (authority.isOwn(context)) return inner.unregister(endpoint, context);
      const known = await setup.endpoint(endpoint.name, context);
      const call = { operation: 'Unregister', entry: endpoint, known, context };
      return desk.admit(call, (admitted, stepped) => inner.unregister(admitted, stepped));
    },
    find: (query, context) => found(authority, context, () => inner.find(query, context)),
  };
}

/** As in the reference, whoever has an identity may look. A refusal is recorded, a look is not. */
async function* found<Response>(
  authority: Authority,
  context: CallContext,
  find: () => AsyncIterable<Response>,
): AsyncIterable<Response> {
  if (!authority.isOwn(context)) authority.peerOf({ operation: 'Find', caller: context });
  yield* find();
}

type Entry = { readonly name: string; readonly pathIds: string[] };

interface RegistryCall<E extends Entry> {
  readonly operation: string;
  readonly entry: E;
  readonly known: Entry | undefined;
  readonly context: CallContext;
  /** What the caller would offer; absent where it takes something away, for which an expired token is good enough. */
  readonly offers?: (entry: E) => readonly PolicyOffer[];
}

interface RegistryQuestion {
  readonly subject: Subject;
  readonly peer: ProvenPeer;
  readonly tokens: readonly string[];
  readonly offers: readonly PolicyOffer[] | undefined;
}

/** Judges calls about names. Two that come for a free name at the same time get it one after the other. */
class Desk {
  readonly #authority: Authority;
  readonly #policies: RegistryPolicies;
  /** Who has a call under way, by name; bounded by the calls that a process serves at once. */
  readonly #underWay = new Map<string, { readonly client: string; calls: number }>();

  constructor({ authority, policies = allRegistryPolicies }: RegistryGuardSetup) {
    this.#authority = authority;
    this.#policies = policies;
  }

  async admit<E extends Entry, Reply>(
    call: RegistryCall<E>,
    work: (entry: E, context: CallContext) => Promise<Reply>,
  ): Promise<Reply> {
    const { operation, entry, known, context, offers } = call;
    const { reader, wallClock } = this.#authority.setup;
    const step = stepOf(context);
    const client = reader.subjectOf(step.tokens[0] ?? '');
    const { name } = entry;
    const subject: Subject = { operation, name, caller: context, ...(client && { client }) };
    const peer = this.#authority.peerOf(subject);
    const nowEpochMs = offers === undefined ? undefined : wallClock.epochMs();
    const selected = this.#policies;
    const view = { tokens: step.tokens, peer, self: this.#authority.self, nowEpochMs, selected };
    const recorded = this.#recorded(name, known);
    const claim = {
      name,
      recorded,
      client: client ?? '',
      peer: peer.spiffeId,
      isOperator: this.#isOperator(client ?? '', peer.spiffeId, recorded),
    };
    const isOwned = selected.has('client_allowed');
    const byRules = serverRules(view, reader) ?? (isOwned ? clientAllowed(claim) : undefined);
    const question = { subject, peer, tokens: step.tokens, offers: offers?.(entry) };
    this.#authority.settle(subject, byRules, byRules ?? this.#byPolicy(question));
    const ids = [...step.tokens.map((token) => reader.subjectOf(token) ?? ''), view.self];
    // A manager that acts for its Endpoint does not become the owner.
    const keeps = client === peer.spiffeId && recorded.includes(client);
    const pathIds = keeps ? [...recorded] : ids;
    return this.#during(name, claim.client, async () => {
      const own = await this.#authority.setup.tokens.token(context.peer);
      return work({ ...entry, pathIds }, step.with(own.token));
    });
  }

  /** Whom only another hop calls so is one where that hop is known: as one of the mesh, or by the very entry. */
  #isOperator(client: string, peer: string, recorded: readonly string[]): boolean {
    const { hops, operators } = this.#authority.setup.policy();
    const isKnown = client === peer || recorded.includes(peer) || matchesAny(hops, peer);
    return matchesAny(operators, client) && (isKnown || matchesAny(operators, peer));
  }

  #recorded(name: string, known: Entry | undefined): readonly string[] {
    const underWay = this.#underWay.get(name);
    if (known !== undefined && known.pathIds.length > 0) return known.pathIds;
    return underWay === undefined ? [] : [underWay.client];
  }

  /** What the operator's policies say of what the rules let pass. */
  #byPolicy({ subject, peer, tokens, offers }: RegistryQuestion): Finding | undefined {
    const policy = this.#authority.setup.policy();
    const byHops = tokens.length > 1 ? hopAllowed(policy, peer.spiffeId) : undefined;
    if (byHops !== undefined) return byHops;
    for (const { service, labels } of offers ?? []) {
      const request = {
        operation: 'register',
        client: subject.client ?? '',
        service,
        labels,
      } as const;
      const finding = accessPolicy(policy, request);
      if (finding !== undefined) return finding;
    }
    return this.#authority.byOperator(subject, peer, { tokens, ...(offers && { offers }) });
  }

  async #during<Reply>(name: string, client: string, work: () => Promise<Reply>): Promise<Reply> {
    const underWay = this.#underWay.get(name) ?? { client, calls: 0 };
    underWay.calls += 1;
    this.#underWay.set(name, underWay);
    try {
      return await work();
    } finally {
      underWay.calls -= 1;
      if (underWay.calls === 0) this.#underWay.delete(name);
    }
  }
}

interface PathStep {
  /** Up to the caller's. */
  readonly tokens: readonly string[];
  /** The call with the path in this hop's view, and the answer's path turned back into the caller's. */
  with(ownToken: string): CallContext;
}

function stepOf(context: CallContext): PathStep {
  const { headers } = context;
  const header = headers[registryPathHeader];
  const { Index, PathSegments } =
    header === undefined ? { Index: 0, PathSegments: [] } : parseRegistryPath(header);
  const segments = PathSegments.slice();
  const token = headers[tokenHeader] ?? segments[Index]?.token ?? '';
  segments[Index] = { token };
  return {
    tokens: segments.slice(0, Index + 1).map((each) => each.token),
    with(ownToken) {
      segments[Index + 1] = { token: ownToken };
      const path = formatRegistryPath({ Index: Index + 1, PathSegments: segments });
      return withHeaders(context, { ...headers, [registryPathHeader]: path }, (name, value) => {
        if (name !== registryPathHeader) context.setHeader(name, value);
        else if (header !== undefined) context.setHeader(name, inCallersView(value));
      });
    },
  };
}

function inCallersView(header: string): string {
  const path = parseRegistryPath(header);
  return formatRegistryPath({ ...path, Index: Math.max(0, path.Index - 1) });
}

function answeredAsItIs(known: NetworkService, stepped: CallContext): Promise<NetworkService> {
  stepped.setHeader(registryPathHeader, stepped.headers[registryPathHeader] ?? '');
  return Promise.resolve(known);
}

function isSameService(known: NetworkService, service: NetworkService): boolean {
  const bare = (each: NetworkService) => create(NetworkServiceSchema, { ...each, pathIds: [] });
  return equals(NetworkServiceSchema, bare(known), bare(service));
}
