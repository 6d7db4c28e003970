// What a forwarder says of itself where it registers: the mechanisms that its data plane makes, so that the manager asks
// first whom it makes sense to ask. NSM has no field for it, so a label of ours carries it, which no match asks for.
// Invariant: it is a hint. Who says nothing, as the reference's, may make anything, and who lacks a mechanism is asked last.

import type { NetworkServiceEndpoint } from './gen/registry_pb.ts';
import { type Labels, labelOf, labelsFor } from './labels.ts';
import { ourLabel } from './selection-policy.ts';

const separator = ',';
/** No type is called so. */
const nothing = 'none';

export function withMechanisms(labels: Labels, types: readonly string[]): Labels {
  return { ...labels, [ourLabel.mechanisms]: types.join(separator) || nothing };
}

/** Types such as KERNEL; undefined where it does not say. */
export function mechanismsOf(
  { networkServiceLabels }: NetworkServiceEndpoint,
  forwarderService: string,
): readonly string[] | undefined {
  const text = labelOf(labelsFor(networkServiceLabels, forwarderService), ourLabel.mechanisms);
  return text === '' ? undefined : text.split(separator);
}
