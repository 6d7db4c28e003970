// What a Find query finds: the rule by which a stored registry entry answers a query. Used for the first answer and
// for every later event of a watch. Names are exact, URLs are substrings, expiry counts in whole seconds.

import { equals } from '@bufbuild/protobuf';
import {
  MatchSchema,
  type NetworkService,
  type NetworkServiceEndpoint,
  type NetworkServiceLabels,
} from './gen/registry_pb.ts';
import { containsLabels } from './labels.ts';

/** True where the stored service answers the query: name and payload empty or equal, matches absent or equal. */
export function serviceMatchesQuery(query: NetworkService, stored: NetworkService): boolean {
  return (
    (query.name === '' || query.name === stored.name) &&
    (query.payload === '' || query.payload === stored.payload) &&
    (query.matches.length === 0 || sameMatches(query, stored))
  );
}

function sameMatches(query: NetworkService, stored: NetworkService): boolean {
  return (
    query.matches.length === stored.matches.length &&
    query.matches.every((match, index) => {
      const other = stored.matches[index];
      return other !== undefined && equals(MatchSchema, match, other);
    })
  );
}

/** True where the stored endpoint answers the query; each field that the query leaves out accepts everything. */
export function endpointMatchesQuery(
  query: NetworkServiceEndpoint,
  stored: NetworkServiceEndpoint,
): boolean {
  return (
    (query.name === '' || query.name === stored.name) &&
    (query.url === '' || stored.url.includes(query.url)) &&
    query.networkServiceNames.every((name) => stored.networkServiceNames.includes(name)) &&
    (query.expirationTime === undefined ||
      query.expirationTime.seconds === stored.expirationTime?.seconds) &&
    containsServiceLabels(stored.networkServiceLabels, query.networkServiceLabels)
  );
}

type ServiceLabels = Readonly<Record<string, NetworkServiceLabels>>;

function containsServiceLabels(stored: ServiceLabels, wanted: ServiceLabels): boolean {
  for (const service of Object.keys(wanted)) {
    const [labels, inStored] = [wanted[service]?.labels, stored[service]?.labels];
    if (!Object.hasOwn(stored, service) || labels === undefined || inStored === undefined) {
      return false;
    }
    if (!containsLabels(inStored, labels)) return false;
  }
  return true;
}
