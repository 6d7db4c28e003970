// Where calls enter a process that has an identity: every service that it serves, behind its rules. Invariant: a service
// without rules cannot be served by mistake.

import type { DescMethod } from '@bufbuild/protobuf';
import type { Finding } from '../../protocols/authorization/finding.ts';
import { matchesAny } from '../../protocols/authorization/access-policy.ts';
import { invariant } from '../../protocols/errors.ts';
import { MonitorConnection } from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import {
  NetworkServiceEndpointRegistry,
  NetworkServiceRegistry,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { Draining } from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import { Inspection } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import {
  type CallContext,
  type ServedService,
  serve,
  type ServiceHandler,
} from '../../protocols/ports/rpc.ts';
import { parseSpiffeId } from '../../protocols/spiffe/spiffe-id.ts';
import type { ConnectionTable } from '../connection/connection-table.ts';
import type { Authority, Subject } from './authority.ts';
import { guardMonitor, guardNetworkService } from './connection-guard.ts';
import {
  guardEndpointRegistry,
  guardServiceRegistry,
  type RegistryGuardSetup,
} from './registry-guard.ts';

export interface GuardSetup {
  readonly authority: Authority;
  /** Of a hop. */
  readonly table?: Pick<ConnectionTable, 'get' | 'withSegment'>;
  /** Of a registry, or a manager's view of one. */
  readonly registered?: Omit<RegistryGuardSetup, 'authority'>;
}

export function guardServices(
  services: readonly ServedService[],
  setup: GuardSetup,
): readonly ServedService[] {
  return services.map((service) => guardService(service, setup));
}

function guardService({ descriptor, handler }: ServedService, setup: GuardSetup): ServedService {
  const { authority, table, registered } = setup;
  if (table !== undefined && descriptor === NetworkService) {
    const inner = handler as ServiceHandler<typeof NetworkService>;
    return serve(NetworkService, guardNetworkService(inner, { authority, table }));
  }
  if (table !== undefined && descriptor === MonitorConnection) {
    const inner = handler as ServiceHandler<typeof MonitorConnection>;
    return serve(MonitorConnection, guardMonitor(inner, { authority, table }));
  }
  if (registered !== undefined && descriptor === NetworkServiceRegistry) {
    const inner = handler as ServiceHandler<typeof NetworkServiceRegistry>;
    return serve(NetworkServiceRegistry, guardServiceRegistry(inner, { authority, ...registered }));
  }
  if (registered !== undefined && descriptor === NetworkServiceEndpointRegistry) {
    const inner = handler as ServiceHandler<typeof NetworkServiceEndpointRegistry>;
    return serve(
      NetworkServiceEndpointRegistry,
      guardEndpointRegistry(inner, { authority, ...registered }),
    );
  }
  if (descriptor === Inspection) {
    const inner = handler as ServiceHandler<typeof Inspection>;
    const look = admission(authority, ownDomainOnly, false);
    return serve(Inspection, {
      status: (request, call) => look('Status', call, () => inner.status(request, call)),
      connections: (request, call) =>
        look('Connections', call, () => inner.connections(request, call)),
      decisions: (request, call) => look('Decisions', call, () => inner.decisions(request, call)),
    });
  }
  invariant(descriptor === Draining, `no rules are known for ${descriptor.typeName}`);
  const inner = handler as ServiceHandler<typeof Draining>;
  const admit = admission(authority, operatorsOnly, true);
  return serve(Draining, {
    drain: (request, call) => admit('Drain', call, () => inner.drain(request, call)),
  });
}

type Admit = <Reply>(
  operation: DescMethod['name'],
  call: CallContext,
  work: () => Promise<Reply>,
) => Promise<Reply>;

/** `isRecorded`: grants too; to look changes nothing. */
function admission(
  authority: Authority,
  rule: (authority: Authority, peer: string) => Finding | undefined,
  isRecorded: boolean,
): Admit {
  return async (operation, call, work) => {
    if (!authority.isOwn(call)) {
      const subject: Subject = { operation, caller: call };
      const finding = rule(authority, authority.peerOf(subject).spiffeId);
      if (isRecorded || finding !== undefined) authority.settle(subject, finding);
    }
    return work();
  };
}

function operatorsOnly(authority: Authority, peer: string): Finding | undefined {
  const { hops } = authority.setup.policy();
  // A manager passes on what an operator asked of another node.
  if (authority.isOperator(peer) || matchesAny(hops, peer)) return undefined;
  return {
    rule: 'operator',
    expected: 'one of the operators of the access policy',
    found: peer,
    remedy: 'add it to operators, or to hops where it is another manager (VWIRE_POLICY_FILE)',
  };
}

function ownDomainOnly(authority: Authority, peer: string): Finding | undefined {
  const { trustDomain } = parseSpiffeId(authority.self);
  if (authority.isOperator(peer) || parseSpiffeId(peer).trustDomain === trustDomain) {
    return undefined;
  }
  return { rule: 'operator', expected: `a peer of ${trustDomain}, or an operator`, found: peer };
}
