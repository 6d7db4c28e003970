// How one Endpoint is taken from those that a match picked: by turn, by load, or the same one for the same client.
// NSM has no field for it, so labels of ours carry it: a match's `metadata.labels`, else the Endpoints' own labels.
// Invariants: every key of ours begins with `vwire.io/`; what cannot be read counts as round robin, the reference's way.

import type { Match, NetworkServiceEndpoint } from './gen/registry_pb.ts';
import { type Labels, labelOf, labelsFor } from './labels.ts';

export const policies = ['round-robin', 'least-loaded', 'sticky'] as const;
export type Policy = (typeof policies)[number];

const ourPrefix = 'vwire.io/';

export const ourLabel = {
  /** On a match's metadata or on Endpoints: the policy's name. */
  select: `${ourPrefix}select`,
  /** On a client: what a sticky choice goes by, instead of the client's name. */
  stickyKey: `${ourPrefix}sticky-key`,
  /** On a forwarder: what it makes, see forwarder-mechanisms.ts. */
  mechanisms: `${ourPrefix}mechanisms`,
} as const;

export function isOurLabel(key: string): boolean {
  return key.startsWith(ourPrefix);
}

export interface PolicyChoice {
  readonly policy: Policy;
  /** Who asked for it, for people. */
  readonly from: string;
}

/** The match's word, else what most of the candidates ask for; in a tie the reference's round robin. */
export function policyOf(
  service: string,
  match: Match | undefined,
  candidates: readonly NetworkServiceEndpoint[],
): PolicyChoice {
  const ofMatch = labelOf(match?.metadata?.labels ?? {}, ourLabel.select);
  if (ofMatch !== '') return readPolicy(ofMatch, 'the match');
  const votes = new Map<string, number>();
  for (const { networkServiceLabels } of candidates) {
    const wish = labelOf(labelsFor(networkServiceLabels, service), ourLabel.select);
    votes.set(wish, (votes.get(wish) ?? 0) + 1);
  }
  let best = '';
  for (const [wish, count] of votes) {
    if (count > (votes.get(best) ?? 0)) best = wish;
  }
  return best === '' ? byDefault : readPolicy(best, 'the labels of the Endpoints');
}

const byDefault: PolicyChoice = { policy: 'round-robin', from: 'default' };

function readPolicy(text: string, from: string): PolicyChoice {
  const policy = policies.find((known) => known === text);
  if (policy !== undefined) return { policy, from };
  return { policy: 'round-robin', from: `default, since ${from} asks for "${text}"` };
}

/** What a sticky choice goes by: the client's own word, else its name, which survives its restart. */
export function stickyKeyOf(labels: Labels, clientName: string): string {
  return labelOf(labels, ourLabel.stickyKey) || clientName;
}
