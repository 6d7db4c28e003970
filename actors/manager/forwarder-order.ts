// In which order a manager asks the forwarders that may carry a connection. Pure. The one of the path comes first, since
// it holds the client's interface; then who makes what the client asks for, and among equals who carries fewest wires.
// The reference asks in the order of its registry; `in-order` does the same.

import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { mechanismsOf } from '../../protocols/nsm/forwarder-mechanisms.ts';

export const forwarderPolicies = ['least-loaded', 'in-order'] as const;
export type ForwarderPolicy = (typeof forwarderPolicies)[number];

export interface ForwarderOrderInput {
  /** As registered. */
  readonly candidates: readonly NetworkServiceEndpoint[];
  readonly forwarderService: string;
  /** Mechanism types that the client asks for, preferred ones first. */
  readonly asked: readonly string[];
  /** Name of the path's next segment; undefined in a first Request. */
  readonly inPath: string | undefined;
  readonly policy: ForwarderPolicy;
  /** Connections that go through the forwarder. */
  readonly loadOf: (name: string) => number;
}

export interface ForwarderOrder {
  readonly order: readonly NetworkServiceEndpoint[];
  /** Those that are asked last, since they make nothing that is asked for. */
  readonly last: readonly { readonly name: string; readonly reason: string }[];
}

export function orderForwarders(input: ForwarderOrderInput): ForwarderOrder {
  const { candidates, inPath, policy, loadOf } = input;
  const first = candidates.filter(({ name }) => name === inPath);
  const others = candidates.filter(({ name }) => name !== inPath);
  if (policy === 'in-order') return { order: [...first, ...others], last: [] };
  const ranked = others
    .map((candidate) => ({ candidate, rank: rankOf(input, candidate) }))
    .toSorted(
      (a, b) =>
        a.rank - b.rank ||
        loadOf(a.candidate.name) - loadOf(b.candidate.name) ||
        (a.candidate.name < b.candidate.name ? -1 : 1),
    );
  const makesNone = ranked.filter(({ rank }) => rank > input.asked.length);
  return {
    order: [...first, ...ranked.map(({ candidate }) => candidate)],
    last: makesNone.map(({ candidate: { name } }) => ({
      name,
      reason: `makes no ${input.asked.join(' or ')}`,
    })),
  };
}

/** Place of the best that it makes among what is asked; who does not say comes behind those, who lacks all of it last. */
function rankOf(
  { asked, forwarderService }: ForwarderOrderInput,
  candidate: NetworkServiceEndpoint,
): number {
  if (asked.length === 0) return 0;
  const makes = mechanismsOf(candidate, forwarderService);
  if (makes === undefined) return asked.length;
  const place = asked.findIndex((type) => makes.includes(type));
  return place < 0 ? asked.length + 1 : place;
}
