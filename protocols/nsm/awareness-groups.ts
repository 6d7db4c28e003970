// Awareness groups of a client (NSM_AWARENESS_GROUPS, `[url,url],[url]`): requests whose Endpoints may hand out the same
// addresses, since they know of each other. NSM concept: mutually aware Endpoints.
// Deviation from the reference, on purpose: there a URL is compared with the request after a random interface name and
// the client's own labels have been put into it, so that a URL as one writes it often matches nothing. Here it is
// compared with what NSM_NETWORK_SERVICES says.

import { NsmError } from '../errors.ts';
import { parseGroups } from './config-values.ts';
import { formatServiceUrl, parseServiceUrl, type ServiceUrl } from './service-url.ts';

export type AwarenessGroups = readonly (readonly ServiceUrl[])[];

/** Throws INVALID_ARGUMENT at a malformed group or URL, and at one that is in two groups. */
export function parseAwarenessGroups(text: string, name: string): AwarenessGroups {
  const groups = parseGroups(text, name).map((group) => group.map((url) => parseServiceUrl(url)));
  const seen = new Set<string>();
  for (const url of groups.flat()) {
    const key = keyOf(url);
    if (seen.has(key)) {
      throw new NsmError('INVALID_ARGUMENT', 'a request is in two awareness groups', {
        rule: name,
        expected: 'each URL once',
        found: key,
      });
    }
    seen.add(key);
  }
  return groups;
}

/** Number of the group that the request is in; undefined where it is in none. */
export function groupOf(groups: AwarenessGroups, request: ServiceUrl): number | undefined {
  const key = keyOf(request);
  const index = groups.findIndex((group) => group.some((url) => keyOf(url) === key));
  return index === -1 ? undefined : index;
}

/** Of the URLs in groups those that nobody requests: they have no effect. */
export function unrequested(
  groups: AwarenessGroups,
  requests: readonly ServiceUrl[],
): readonly string[] {
  const keys = new Set(requests.map(keyOf));
  return groups
    .flat()
    .map(keyOf)
    .filter((key) => !keys.has(key));
}

/** The same text for the same request, whatever the order of its labels. */
function keyOf(url: ServiceUrl): string {
  const labels = Object.entries(url.labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return formatServiceUrl({ ...url, labels: Object.fromEntries(labels) });
}
