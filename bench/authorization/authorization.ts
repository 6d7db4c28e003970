// What one decision costs: the whole guard before a Request of the longest path (six segments), with a signature that is
// verified anew, and with one that has been seen, as in every refresh within the life of a token; and what asking a policy in
// WebAssembly adds to that, without what the policy itself has to compute.

import { create } from '@bufbuild/protobuf';
import { AuditTrail } from '../../actors/authorization/audit-trail.ts';
import { Authority } from '../../actors/authorization/authority.ts';
import { guardNetworkService } from '../../actors/authorization/connection-guard.ts';
import { openPolicy } from '../../protocols/authorization/access-policy.ts';
import { TokenReader } from '../../protocols/authorization/read-tokens.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type NetworkServiceRequest,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import { tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { OperatorPolicy } from '../../protocols/ports/operator-policy.ts';
import type { CallContext } from '../../protocols/ports/rpc.ts';
import { TestIdentities } from '../../test/sandbox/identities.ts';
import { assemblePolicy } from '../../test/sandbox/wasm-policy.ts';
import { operatorPolicyFrom } from '../../transports/policy-wasm/operator-policy.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { signPathToken } from '../../transports/spiffe-ts/spiffe.ts';
import { judge, median, type RunSuite } from '../figure.ts';

const suite = 'authorization';
const perRound = 2_000;
const rounds = 5;
const hops = ['nsc', 'nsmgr-1', 'forwarder-1', 'nsmgr-2', 'forwarder-2', 'nse'];
const limitUs = 150;

export const run: RunSuite = async (progress) => {
  const identities = new TestIdentities();
  try {
    const caller = await identities.source('forwarder-2');
    const { svid } = caller.current() ?? {};
    const leaf = svid?.chain[0];
    if (svid === undefined || leaf === undefined) throw new Error('no identity');
    const reader = new TokenReader((token, by) => caller.verifyPathToken(token, by));
    const handler = guarded(reader);
    const asking = guarded(reader, allowingPolicy());
    // Each of another second, so that no two are the same.
    const tokens = Array.from({ length: perRound * rounds }, (_, index) => {
      const expiresAtMs = systemWallClock.epochMs() + 600_000 + index * 1_000;
      return signPathToken(
        { ...svid, notAfterMs: Infinity },
        { audience: idOf('nse'), expiresAtMs },
      ).token;
    });
    const message = requestOf(
      (index) =>
        signPathToken(
          { ...svid, spiffeId: idOf(hops[index] ?? '') },
          {
            audience: idOf(hops[index + 1] ?? ''),
            expiresAtMs: systemWallClock.epochMs() + 600_000,
          },
        ).token,
    );
    const peer = { binding: 'grpc', spiffeId: svid.spiffeId, leaf } as const;
    const decide = (token: string, by = handler): Promise<unknown> => {
      const context: CallContext = {
        signal: new AbortController().signal,
        deadlineMs: Infinity,
        headers: { [tokenHeader]: token },
        peer,
        setHeader: () => {},
      };
      return by.request(message, context);
    };
    progress('decisions with new tokens');
    const fresh = await microseconds((index) => decide(tokens[index] ?? ''));
    progress('signatures alone');
    const alone = await microseconds((index) =>
      Promise.resolve(caller.verifyPathToken(tokens[index] ?? '', leaf)),
    );
    progress('decisions with a token that was seen');
    const seen = await microseconds(() => decide(tokens[0] ?? ''));
    progress('decisions with a policy in WebAssembly');
    const asked = await microseconds(() => decide(tokens[0] ?? '', asking));
    return [
      judge(
        {
          suite,
          name: 'one decision, new token, six segments',
          value: fresh,
          unit: 'us',
          limitName: 'verifying its signature alone',
          limitValue: alone,
        },
        { of: 'value', atMost: limitUs },
      ),
      judge({
        suite,
        name: 'one decision, token seen before',
        value: seen,
        unit: 'us',
        limitName: 'new token',
        limitValue: fresh,
      }),
      judge({
        suite,
        name: 'one decision, token seen before, and a policy in WebAssembly asked',
        value: asked,
        unit: 'us',
        limitName: 'without the policy',
        limitValue: seen,
      }),
    ];
  } finally {
    await identities.close();
  }
};

const idOf = (name: string): string => `spiffe://home.test/${name}`;

/** It says yes, whatever it is asked. */
const allowingPolicy = (): OperatorPolicy =>
  operatorPolicyFrom(assemblePolicy({ answers: { 'vwire/request': true } }));

function guarded(reader: TokenReader, operatorPolicy?: OperatorPolicy) {
  const authority = new Authority({
    hop: 'nse',
    self: () => idOf('nse'),
    reader,
    tokens: { token: () => Promise.reject(new Error('not asked for')) },
    policy: () => openPolicy,
    operatorPolicy: () => operatorPolicy,
    trail: new AuditTrail({ log: { write: () => {} }, clock: systemClock }),
    wallClock: systemWallClock,
  });
  const answer = create(ConnectionSchema);
  return guardNetworkService(
    { request: () => Promise.resolve(answer), close: () => Promise.reject(new Error('not asked')) },
    { authority, table: { get: () => undefined, withSegment: () => [] } },
  );
}

function requestOf(tokenOf: (index: number) => string): NetworkServiceRequest {
  const expires = timestampFromEpochMs(systemWallClock.epochMs() + 600_000);
  const segments = hops.slice(0, -1).map((name, index) => ({
    name,
    id: `${name}-id`,
    token: tokenOf(index),
    expires,
  }));
  const index = segments.length - 1;
  return create(NetworkServiceRequestSchema, {
    connection: {
      id: segments[index]?.id ?? '',
      networkService: 'service',
      path: { index, pathSegments: segments },
    },
  });
}

async function microseconds(work: (index: number) => Promise<unknown>): Promise<number> {
  const costs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startMs = performance.now();
    for (let index = 0; index < perRound; index += 1) await work(round * perRound + index);
    costs.push(((performance.now() - startMs) * 1_000) / perRound);
  }
  return median(costs);
}
