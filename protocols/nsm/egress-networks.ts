// The networks outside of the mesh that a node is in, by the value of the connection label `via`; what each is made of is
// the data plane's to say.

import { NsmError } from '../errors.ts';

/** `file`: the variable whose file names them. Errors: NOT_FOUND (rule `via`). */
export function networkNamed<Network>(
  networks: ReadonlyMap<string, Network>,
  via: string,
  file: string,
): Network {
  const network = networks.get(via);
  if (network !== undefined) return network;
  throw new NsmError('NOT_FOUND', 'this node is in no network of that name', {
    rule: 'via',
    expected: [...networks.keys()].join(', ') || 'none is configured',
    found: via === '' ? 'no label via' : via,
    remedy: `name the networks of the node in ${file}`,
  });
}
