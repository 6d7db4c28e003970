// NetworkService files: YAML text (one or several documents) to NetworkService messages. The shape is judged by
// protocols/nsm/network-service-document.ts, which names the line of whatever is wrong.

import type { NetworkService } from '../protocols/nsm/gen/registry_pb.ts';
import { networkServiceFromDocument } from '../protocols/nsm/network-service-document.ts';
import { readYaml } from './yaml-file.ts';

/** The services of a file; empty documents are passed over. Throws INVALID_ARGUMENT; `name` is the file's, for errors. */
export function readNetworkServices(text: string, name: string): readonly NetworkService[] {
  return readYaml(text, { kind: 'NetworkService file', name }).map(({ value, positionOf }) =>
    networkServiceFromDocument(value, positionOf),
  );
}
