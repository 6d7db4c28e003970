// Collects netlink requests into the steps of one program and remembers where answers will be found.

import type { EncodedMessage } from '../../protocols/netlink/codec.ts';
import { parseLink } from '../../protocols/netlink/link.ts';
import type { NetlinkAnswer, NetlinkRequest, NetlinkStep } from '../../protocols/ports/netlink.ts';

/** Offset of ifi_index in a link message's payload. */
export const linkIndexOffset = 4;

export interface RequestOptions {
  readonly tolerate?: readonly number[];
  readonly undo?: readonly EncodedMessage[] | undefined;
  readonly expect?: NonNullable<NetlinkRequest['expect']>;
}

export interface ProgramBuilder {
  /** Further requests go to this namespace; absent: the node's own. */
  enter(namespace?: string): void;
  add(what: string, message: EncodedMessage, options?: RequestOptions): void;
  /** A link query whose index is kept in the register while the program runs and found under it afterwards. */
  query(what: string, message: EncodedMessage, register: string): void;
  transaction(requests: readonly NetlinkRequest[]): void;
  /** A request to a generic netlink family, in the namespace that was entered. */
  addGeneric(what: string, message: EncodedMessage, options?: Pick<RequestOptions, 'undo'>): void;
  append(steps: readonly NetlinkStep[]): void;
  finish(): Program;
}

export interface Program {
  readonly steps: readonly NetlinkStep[];
  /** Indexes of the queried links by register. */
  indexesIn(answers: readonly (readonly NetlinkAnswer[])[]): ReadonlyMap<string, number>;
}

export function buildProgram(): ProgramBuilder {
  const steps: {
    namespace?: string;
    protocol: NetlinkStep['protocol'];
    requests: NetlinkRequest[];
  }[] = [];
  const queries: { register: string; step: number; request: number }[] = [];
  let isFresh = true;
  let namespace: string | undefined;
  const current = () => {
    if (isFresh || steps.at(-1)?.namespace !== namespace) {
      const place = namespace === undefined ? {} : { namespace };
      steps.push({ ...place, protocol: 'route', requests: [] });
      isFresh = false;
    }
    return steps.at(-1) as (typeof steps)[number];
  };
  return {
    enter(next) {
      namespace = next;
    },
    add(what, message, options = {}) {
      const { undo, ...rest } = options;
      const request = { what, message, ...rest };
      current().requests.push(undo === undefined ? request : { ...request, undo });
    },
    query(what, message, register) {
      const { requests } = current();
      queries.push({ register, step: steps.length - 1, request: requests.length });
      requests.push({ what, message, store: { register, offset: linkIndexOffset } });
    },
    transaction(requests) {
      if (requests.length > 0) steps.push({ protocol: 'netfilter', requests: [...requests] });
      isFresh = true;
    },
    addGeneric(what, message, { undo } = {}) {
      const place = namespace === undefined ? {} : { namespace };
      const request = undo === undefined ? { what, message } : { what, message, undo };
      steps.push({ ...place, protocol: 'generic', requests: [request] });
      isFresh = true;
    },
    append(more) {
      steps.push(...more.map((step) => ({ ...step, requests: [...step.requests] })));
      isFresh = true;
    },
    finish: () => ({
      steps,
      indexesIn: (answers) =>
        new Map(
          queries.flatMap(({ register, step, request }) => {
            const message = answers[step]?.[request]?.messages[0];
            const link = message === undefined ? undefined : parseLink(message);
            return link === undefined ? [] : [[register, link.index] as const];
          }),
        ),
    }),
  };
}
