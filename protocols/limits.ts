// Bounds on what a peer may send. A message beyond one of them is refused before anything acts on it.
// The numbers are ours: the reference has none. Each leaves ample room over what its components send, and keeps one
// hostile message from costing more than a few hundred kilobytes and a few milliseconds.
// Lengths of text are counted in UTF-16 units, which is what a JavaScript string counts for free.

export const limits = {
  /** Segments of a path. The longest path of the reference has 8 (two domains). */
  pathSegments: 32,
  /** A component, endpoint or service name, `@domain` included. A DNS name has at most 253. */
  nameLength: 512,
  /** A connection or segment id: a UUID, or `<client name>-<n>`. */
  idLength: 576,
  /** A JWT. With SPIFFE IDs of the longest kind allowed (2048 bytes, twice) one stays below this. */
  tokenLength: 8192,
  /** Entries of one string map (labels, parameters, metrics, selectors). */
  mapEntries: 256,
  mapKeyLength: 316,
  /** A mechanism parameter holds at most a base64 certificate or a list of NAT rules. */
  mapValueLength: 8192,
  /** Addresses, routes, prefixes, neighbours and the like in one list. */
  listEntries: 4096,
  /** Text of one address, prefix, port range or MAC. */
  addressLength: 64,
  /** Mechanisms that a caller may prefer. */
  mechanismPreferences: 32,
  urlLength: 4096,
  /** Matches of one NetworkService, and routes of one match. */
  matches: 256,
  routes: 256,
  /** Services that one endpoint may serve. */
  servicesPerEndpoint: 1024,
  /** SPIFFE IDs of the hops of a registration; one is at most 2048 bytes (SPIFFE ID, section 2.3). */
  pathIds: 32,
  pathIdLength: 2048,
  /** One configuration value, service URL list or template. */
  configTextLength: 65_536,
  templateLength: 4096,
  /** A file of NetworkService documents. */
  documentLength: 1_048_576,
  /** Free ranges that one prefix pool may break into. */
  poolRanges: 65_536,
  /** Prefixes that one client may get beside its address. */
  extraPrefixes: 256,
  /** Leases that an Endpoint keeps for clients that are away; together some 6 MB. */
  idleLeases: 8_192,
} as const;
