// What this kernel can do, found out by trying on a throwaway pair of links in the node's namespace.

import { NsmError } from '../../protocols/errors.ts';
import type { EncodedMessage } from '../../protocols/netlink/codec.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { getFamily, parseFamilyId } from '../../protocols/netlink/generic.ts';
import {
  changeLinkByName,
  createImpossibleLink,
  createVeth,
  deleteLinkByName,
  getLinkByName,
} from '../../protocols/netlink/link.ts';
import { addClsact, setRedirect } from '../../protocols/netlink/traffic-control.ts';
import { deleteTable, ensureTable } from '../../protocols/netlink/nftables.ts';
import { wireguardFamily } from '../../protocols/netlink/wireguard.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkStep } from '../../protocols/ports/netlink.ts';
import type { OwnerMarks } from './owner.ts';
import { failureError } from './run.ts';
import { linkIndexOffset } from './program-builder.ts';

export interface KernelFeatures {
  readonly veth: boolean;
  readonly vxlan: boolean;
  readonly bridge: boolean;
  /** Number of the generic netlink family; undefined where this kernel makes no such devices. */
  readonly wireguardFamily: number | undefined;
  /** Whether a redirect puts Ethernet headers on what comes out of a tunnel without. */
  readonly addedHeader: boolean;
  /** Whether the kernel has the link type; this driver makes no wires of it. */
  readonly xfrm: boolean;
  readonly redirect: boolean;
  readonly sourceFilter: boolean;
  /** Number of the ethtool family; undefined where this kernel has none. */
  readonly checksumFamily: number | undefined;
}

/** PERMISSION_DENIED where the process may not administer the network at all. */
export async function probeFeatures(
  netlink: Netlink,
  marks: OwnerMarks,
  budget: Budget,
): Promise<KernelFeatures> {
  const redirect = await tryProgram(netlink, redirectTrial(marks), budget);
  const hasWireguard = await knowsKind(netlink, 'wireguard', budget);
  return {
    redirect,
    veth: redirect || (await tryProgram(netlink, vethTrial(marks), budget)),
    vxlan: await knowsKind(netlink, 'vxlan', budget),
    bridge: await knowsKind(netlink, 'bridge', budget),
    wireguardFamily: hasWireguard ? await findFamily(netlink, wireguardFamily, budget) : undefined,
    addedHeader:
      hasWireguard && redirect && (await tryProgram(netlink, redirectTrial(marks, true), budget)),
    xfrm: await knowsKind(netlink, 'xfrm', budget),
    sourceFilter: await tryProgram(netlink, filterTrial(marks), budget),
    checksumFamily: await findFamily(netlink, 'ethtool', budget),
  };
}

/** Number of a generic netlink family; undefined where this kernel has none of that name. */
export async function findFamily(
  netlink: Netlink,
  name: string,
  budget: Budget,
): Promise<number | undefined> {
  const requests = [{ message: getFamily(name), what: `find the family ${name}` }];
  const outcome = await netlink.execute([{ protocol: 'generic', requests }], budget);
  return outcome.ok ? parseFamilyId(outcome.answers[0]?.[0]?.messages[0]) : undefined;
}

/**
 * What the ends of wires take that a switch joins; no link is made for it, since a switch may act on every link that
 * comes and goes.
 */
export async function probeEnds(netlink: Netlink, budget: Budget): Promise<KernelFeatures> {
  return {
    redirect: false,
    veth: await knowsKind(netlink, 'veth', budget),
    vxlan: false,
    bridge: false,
    wireguardFamily: undefined,
    addedHeader: false,
    xfrm: false,
    sourceFilter: false,
    checksumFamily: await findFamily(netlink, 'ethtool', budget),
  };
}

async function tryProgram(
  netlink: Netlink,
  program: readonly NetlinkStep[],
  budget: Budget,
): Promise<boolean> {
  const outcome = await netlink.execute(program, budget);
  if (outcome.ok) return true;
  if (outcome.failure.errno === errno.notPermitted) throw failureError(outcome.failure);
  return false;
}

/**
 * Asks for a link that cannot be (its MTU is less than any kind allows), so that nothing is made: a kind that the
 * kernel knows, or can load, is refused for the MTU, another one as not supported.
 */
async function knowsKind(netlink: Netlink, kind: string, budget: Budget): Promise<boolean> {
  const message = createImpossibleLink(kind);
  const requests = [{ message, what: `ask for a link of kind ${kind}` }];
  const outcome = await netlink.execute([{ protocol: 'route', requests }], budget);
  if (outcome.ok) return true;
  if (outcome.failure.errno === errno.notPermitted) throw failureError(outcome.failure);
  return outcome.failure.errno !== errno.notSupported;
}

/** Names that no wire has: the role letters do not include `t` and `u`. */
const trialName = (marks: OwnerMarks, letter: 't' | 'u') => `${marks.namePrefix}${letter}probe`;

function routeStep(messages: readonly (readonly [string, EncodedMessage])[]): NetlinkStep {
  return {
    protocol: 'route',
    requests: messages.map(([what, message]) => ({ what, message })),
  };
}

function trialPair(marks: OwnerMarks): EncodedMessage {
  const name = trialName(marks, 't');
  return createVeth({ name, group: marks.group, mtu: 0, peer: { name: trialName(marks, 'u') } });
}

function leftOver(marks: OwnerMarks): NetlinkStep {
  const message = deleteLinkByName(trialName(marks, 't'));
  const what = 'remove a trial link that was left over';
  return { protocol: 'route', requests: [{ message, what, tolerate: [errno.noDevice] }] };
}

function vethTrial(marks: OwnerMarks): NetlinkStep[] {
  return [
    leftOver(marks),
    routeStep([
      ['create a trial veth', trialPair(marks)],
      ['remove the trial veth', deleteLinkByName(trialName(marks, 't'))],
    ]),
  ];
}

/** With a header added, which does not matter to links that have one. */
function redirectTrial(marks: OwnerMarks, addsHeader = false): NetlinkStep[] {
  const mac = new Uint8Array(6);
  const added = addsHeader ? { destination: mac, source: mac } : undefined;
  const name = trialName(marks, 't');
  const undo = [deleteLinkByName(name)];
  const store = (register: string) => ({ register, offset: linkIndexOffset });
  const query = (letter: 't' | 'u') => ({
    what: 'find a trial veth',
    message: getLinkByName(trialName(marks, letter)),
    store: store(letter),
  });
  const from = { register: 't' };
  return [
    leftOver(marks),
    {
      protocol: 'route',
      requests: [
        { what: 'create a trial veth', message: trialPair(marks), undo },
        {
          what: 'silence the trial veth',
          message: changeLinkByName(name, { isSilentIpv6: true }),
        },
        query('t'),
        query('u'),
        { what: 'add a trial filter hook', message: addClsact(from) },
        { what: 'add a trial redirect', message: setRedirect(from, { register: 'u' }, added) },
        { what: 'remove the trial veth', message: deleteLinkByName(name) },
      ],
    },
  ];
}

function filterTrial(marks: OwnerMarks): NetlinkStep[] {
  const table = `${marks.filterTable}-probe`;
  const step = (what: string, message: EncodedMessage): NetlinkStep => ({
    protocol: 'netfilter',
    requests: [{ what, message }],
  });
  return [
    step('create a trial table', ensureTable(table)),
    step('remove the trial table', deleteTable(table)),
  ];
}

export function noWayToJoin(): NsmError {
  return new NsmError('UNIMPLEMENTED', 'this kernel can neither redirect nor bridge', {
    rule: 'cross connect',
    expected: 'clsact with u32 and mirred, or a bridge',
    found: 'neither',
    remedy: 'load the modules cls_u32, act_mirred and sch_ingress, or bridge',
  });
}

/** Errors: UNIMPLEMENTED where the kernel cannot be told. */
export function familyOf({ checksumFamily }: KernelFeatures): number {
  if (checksumFamily !== undefined) return checksumFamily;
  throw new NsmError('UNIMPLEMENTED', 'this kernel has no ethtool over netlink', {
    rule: 'checksums',
    expected: 'CONFIG_ETHTOOL_NETLINK',
    found: 'no such family',
    remedy: 'use a switch whose datapath is in the kernel, or another forwarder',
  });
}
