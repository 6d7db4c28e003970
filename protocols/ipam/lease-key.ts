// Whose an address is: the identity of the client's first hop, its name, the service and the client's interface. All
// four survive a restart of the client and a change of the Endpoint, unlike the connection's id. Where the client does
// not say its interface (a Go client, or a name that was made up), its place in the client's list of services, which is
// how an NSC numbers its connections, stands for it.
// Invariant: the key never fails a Request. A token that cannot be read counts as none: nothing is allowed on its
// strength, it only tells clients apart.

import { clientInterfaceOf } from '../nsm/client-interface.ts';
import type { Connection } from '../nsm/gen/connection_pb.ts';
import { parsePathToken } from '../spiffe/path-token.ts';

export interface LeaseOwner {
  readonly key: string;
  /** Id of the client's own segment: tells its wires apart where it does not say an interface. */
  readonly clientId: string;
}

export function leaseOwnerOf(connection: Connection): LeaseOwner {
  const client = connection.path?.pathSegments[0];
  const name = client?.name ?? '';
  const parts = [
    identityIn(client?.token ?? ''),
    name,
    connection.networkService,
    clientInterfaceOf(connection) || placeOf(client?.id ?? '', name),
  ];
  return { key: JSON.stringify(parts), clientId: client?.id ?? connection.id };
}

/** The number in `<name>-<n>`, the id that an NSC gives its n-th connection in each of its lives; else nothing. */
function placeOf(id: string, name: string): string {
  const place = id.startsWith(`${name}-`) ? id.slice(name.length + 1) : '';
  return /^\d{1,6}$/.test(place) ? place : '';
}

function identityIn(token: string): string {
  if (token === '') return '';
  try {
    return parsePathToken(token).subject;
  } catch {
    return '';
  }
}
