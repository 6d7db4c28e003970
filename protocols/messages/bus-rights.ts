// Who may do what on the bus: one description, by SPIFFE ID and role, from which the configuration of nats-server is made
// and in which every process finds its own inbox. Rights are subjects that a user may send to and those that it may
// listen to; what is not named here is refused by the server.
// Invariant: nobody listens where another one is called or answered; an inbox belongs to one SPIFFE ID.

import { NsmError } from '../errors.ts';
import { parseWorkloadId } from '../spiffe/spiffe-id.ts';
import { encodeToken, subjectRoot } from './subjects.ts';

export const busRoles = ['registry', 'nsmgr', 'forwarder', 'endpoint', 'client'] as const;
export type BusRole = (typeof busRoles)[number];

export interface BusUser {
  readonly spiffeId: string;
  readonly roles: readonly BusRole[];
  /** Where it is; absent: on any node. */
  readonly node?: string;
  /** What it serves as; absent: the role's usual name. An Endpoint without one serves nothing on the bus. */
  readonly component?: string;
}

export interface BusDescription {
  /** Of the subjects; an account of nats-server of its own. */
  readonly domain: string;
  readonly users: readonly BusUser[];
}

export interface BusRights {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

const anyToken = '*';
const inboxRoot = '_INBOX';

/** Prefix of the inboxes of a SPIFFE ID. Errors: INVALID_ARGUMENT where it is longer than a subject may hold. */
export const inboxPrefixOf = (spiffeId: string): string => `${inboxRoot}.${encodeToken(spiffeId)}`;

/** A bucket's name takes letters, digits, dash and underscore. */
const inBucketName = (domain: string): string => domain.replace(/[^A-Za-z0-9-]/g, '_');
export const registryBucketOf = (domain: string): string =>
  `vwire-registry-${inBucketName(domain)}`;
export const addressBucketOf = (domain: string): string =>
  `vwire-addresses-${inBucketName(domain)}`;

/** Errors: INVALID_ARGUMENT naming the user. */
export function busRightsOf(user: BusUser, domain: string): BusRights {
  const { spiffeId } = user;
  parseWorkloadId(spiffeId);
  const publish = new Set<string>();
  const subscribe = new Set([`${inboxPrefixOf(spiffeId)}.>`]);
  for (const role of user.roles) {
    const { serves, calls, bucket } = rightsOfRole(role, user, domain);
    if (serves !== undefined) {
      subscribe.add(`${serves}.>`);
      // Whoever serves answers; and asks, before it begins, whether somebody else serves under its name.
      for (const subject of [`${inboxRoot}.>`, `${serves}.$call.probe`]) publish.add(subject);
    }
    for (const callee of calls) publish.add(`${callee}.>`);
    if (bucket !== undefined) for (const subject of bucketSubjects(bucket)) publish.add(subject);
  }
  return { publish: [...publish], subscribe: [...subscribe] };
}

interface RoleRights {
  /** Prefix of the component that it is. */
  readonly serves?: string;
  /** Prefixes of those that it calls. */
  readonly calls: readonly string[];
  readonly bucket?: string;
}

function rightsOfRole(role: BusRole, user: BusUser, domain: string): RoleRights {
  const node = user.node === undefined ? anyToken : encodeToken(user.node);
  const at = (place: string, component: string): string =>
    [subjectRoot, encodeToken(domain), place, component].join('.');
  const own = (usual: string): string =>
    user.component === undefined ? usual : encodeToken(user.component);
  const registry = at('registry', anyToken);
  switch (role) {
    case 'registry':
      return { serves: at('registry', own(anyToken)), calls: [], bucket: registryBucketOf(domain) };
    case 'nsmgr':
      // Those of its node, and the managers of others, which it asks to move clients.
      return {
        serves: at(node, own('nsmgr')),
        calls: [registry, at(node, anyToken), at(anyToken, 'nsmgr')],
      };
    case 'forwarder':
      return {
        serves: at(node, own('forwarder')),
        calls: [at(node, anyToken), at(anyToken, 'nsmgr')],
      };
    case 'endpoint':
      return {
        ...(user.component === undefined ? {} : { serves: at(node, own('')) }),
        calls: [at(node, 'nsmgr')],
        bucket: addressBucketOf(domain),
      };
    case 'client':
      return { calls: [at(node, 'nsmgr')] };
  }
}

/** All that a KV bucket is worked with, and nothing of another one. */
function bucketSubjects(bucket: string): readonly string[] {
  const stream = `KV_${bucket}`;
  const api = '$JS.API';
  return [
    `${api}.INFO`,
    `${api}.STREAM.*.${stream}`,
    `${api}.STREAM.MSG.*.${stream}`,
    `${api}.CONSUMER.*.${stream}`,
    `${api}.CONSUMER.*.${stream}.>`,
    `${api}.CONSUMER.DURABLE.CREATE.${stream}.>`,
    `${api}.CONSUMER.MSG.NEXT.${stream}.>`,
    `${api}.DIRECT.GET.${stream}`,
    `${api}.DIRECT.GET.${stream}.>`,
    `$JS.ACK.${stream}.>`,
    `$JS.FC.${stream}.>`,
    `$KV.${bucket}.>`,
  ];
}

/** Errors: INVALID_ARGUMENT where one SPIFFE ID stands twice: the server would take the one or the other. */
export function checkBusDescription({ users }: BusDescription): void {
  const seen = new Set<string>();
  for (const { spiffeId } of users) {
    if (seen.has(spiffeId)) {
      throw new NsmError('INVALID_ARGUMENT', 'a user of the bus stands twice', {
        rule: 'bus-users',
        expected: 'each SPIFFE ID once, with all its roles',
        found: spiffeId,
      });
    }
    seen.add(spiffeId);
  }
}
