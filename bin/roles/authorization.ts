// The rules of a process that has an identity: every service that its roles serve stands behind them. The operator's
// policy is followed while the process runs, and every decision goes to the audit log.

import { create } from '@bufbuild/protobuf';
import { answerJudge, type JudgeAnswer } from '../../actors/authorization/answer-judge.ts';
import { AuditTrail } from '../../actors/authorization/audit-trail.ts';
import { Authority } from '../../actors/authorization/authority.ts';
import { guardServices, type GuardSetup } from '../../actors/authorization/guard-services.ts';
import { refusedByListener } from '../../actors/authorization/refused-by-listener.ts';
import type { TokenSource } from '../../actors/connection/tokens.ts';
import { type AccessPolicy, openPolicy } from '../../protocols/authorization/access-policy.ts';
import { testedAccessPolicyFrom } from '../../protocols/authorization/access-policy-document.ts';
import { TokenReader } from '../../protocols/authorization/read-tokens.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  NetworkServiceQuerySchema,
  NetworkServiceRegistry,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { isInterdomain } from '../../protocols/nsm/service-name.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Refusal } from '../../protocols/ports/refusal.ts';
import type { ServedService, ServiceHandler } from '../../protocols/ports/rpc.ts';
import { openAuditLog } from '../../transports/process/audit-log.ts';
import type { CommonConfig } from '../config/load.ts';
import { followFile } from './followed-file.ts';
import { followOperatorPolicy } from './operator-policy.ts';

/** What an operator says about it. */
export type AuthorizationConfig = Pick<
  CommonConfig,
  'policyFile' | 'policyWasm' | 'auditLog' | 'operators'
>;

export interface AuthorizationSetup {
  /** Of the process. */
  readonly name: string;
  readonly identity: Identity;
  readonly tokens: TokenSource;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  /** For so long what came with a token may be repeated. */
  readonly repeatableMs: number;
  readonly log: Log;
  readonly config: AuthorizationConfig;
}

export interface Authorization {
  /** `hop`: name of the component that serves them. */
  guard(
    hop: string,
    services: readonly ServedService[],
    parts: Omit<GuardSetup, 'authority'>,
  ): readonly ServedService[];
  /** What a client holds the answer of its next hop to. */
  answerJudge(hop: string): JudgeAnswer;
  /** Records what a listener turned away. */
  refused(refusal: Refusal): void;
  stop(): void;
}

/** Errors: UNAVAILABLE where the audit log cannot be opened, INVALID_ARGUMENT and NOT_FOUND for the operator's policy. */
export async function createAuthorization(setup: AuthorizationSetup): Promise<Authorization> {
  const { identity, clock, log, config } = setup;
  const ofOperator = await followOperatorPolicy(config, log);
  const audit = openAuditLog({ log, ...(config.auditLog && { file: config.auditLog }) });
  const trail = new AuditTrail({ log: audit, clock, grantKeptMs: setup.repeatableMs });
  const reader = new TokenReader((token, leaf) => identity.verifyPathToken(token, leaf));
  const policy = followPolicy(config, log);
  const self = (): string | undefined => identity.current()?.svid.spiffeId;
  const authorityOf = (hop: string): Authority =>
    new Authority({
      ...setup,
      hop,
      self,
      reader,
      trail,
      policy: () => policy.value,
      operatorPolicy: () => ofOperator?.value,
    });
  return {
    guard: (hop, services, parts) =>
      guardServices(services, { authority: authorityOf(hop), ...parts }),
    answerJudge: (hop) => answerJudge(authorityOf(hop).setup),
    refused(refusal) {
      trail.record(refusedByListener(refusal, { hop: setup.name, self: self() ?? '' }));
    },
    stop() {
      policy.stop();
      ofOperator?.stop();
      trail.close();
      audit.close();
    },
  };
}

function followPolicy({ policyFile, operators }: AuthorizationConfig, log: Log) {
  const withOperators = (policy: AccessPolicy): AccessPolicy => ({
    ...policy,
    operators: [...policy.operators, ...operators],
  });
  const absent = withOperators(openPolicy);
  if (policyFile === undefined) return { value: absent, stop: () => {} };
  return followFile({
    path: policyFile,
    kind: 'access policy',
    absent,
    read: (document, positionOf) => withOperators(testedAccessPolicyFrom(document, positionOf)),
    log,
  });
}

/** As they are where the process has no identity. */
export function guarded(
  { authorization }: { readonly authorization?: Authorization },
  hop: string,
  services: readonly ServedService[],
  parts: Omit<GuardSetup, 'authority'>,
): readonly ServedService[] {
  return authorization?.guard(hop, services, parts) ?? services;
}

/** Asks a registry for what it has itself. */
export function registeredIn(services: readonly ServedService[]): GuardSetup['registered'] & {} {
  const handler = (descriptor: ServedService['descriptor']): unknown =>
    services.find((service) => service.descriptor === descriptor)?.handler;
  const ofServices = handler(NetworkServiceRegistry) as ServiceHandler<
    typeof NetworkServiceRegistry
  >;
  const ofEndpoints = handler(NetworkServiceEndpointRegistry) as ServiceHandler<
    typeof NetworkServiceEndpointRegistry
  >;
  return {
    async service(name, context) {
      if (name === '' || isInterdomain(name)) return undefined;
      const query = create(NetworkServiceQuerySchema, { networkService: { name } });
      for await (const { networkService } of ofServices.find(query, context)) {
        if (networkService?.name === name) return networkService;
      }
      return undefined;
    },
    async endpoint(name, context) {
      if (name === '' || isInterdomain(name)) return undefined;
      const query = create(NetworkServiceEndpointQuerySchema, { networkServiceEndpoint: { name } });
      for await (const { networkServiceEndpoint } of ofEndpoints.find(query, context)) {
        if (networkServiceEndpoint?.name === name) return networkServiceEndpoint;
      }
      return undefined;
    },
  };
}
