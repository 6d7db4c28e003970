// The kernel's refusals in the terms of the port: which rule, what was found, what to do.

import { NsmError } from '../../protocols/errors.ts';
import { namespaceRules, takenOverRule, type Wire } from '../../protocols/ports/dataplane.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import type { NetlinkFailure } from '../../protocols/ports/netlink.ts';
import type { Inventory, OthersLink } from './observe.ts';
import { sides } from './wire-state.ts';

/** Something of the wire's is there already, and is another's. */
export function takenError(
  wire: Wire,
  failure: NetlinkFailure,
  { byWire, others }: Inventory,
): NsmError {
  const vxlan = /^create VXLAN (\d+)/.exec(failure.what);
  if (vxlan !== null) {
    const holder = [...byWire].find(([, links]) =>
      links.some(({ link }) => link.vxlan?.vni === Number(vxlan[1])),
    );
    return new NsmError('ALREADY_EXISTS', `VNI ${vxlan[1]} is taken on this node`, {
      rule: 'vni',
      expected: 'a VNI that is free for this UDP port and address family',
      found: `${failure.found}${holder === undefined ? '' : `, held by wire ${holder[0]}`}`,
      remedy: 'draw another VNI or listen on another UDP port',
      connectionId: wire.id,
    });
  }
  const holder = otherHolder(wire, failure, others);
  if (holder !== undefined) {
    return new NsmError('ALREADY_EXISTS', 'another forwarder has taken the wire over', {
      rule: takenOverRule,
      expected: 'a wire that no other forwarder of the installation carries',
      found: `forwarder ${holder.forwarder} carries it as ${holder.tag.wireId}`,
      remedy: 'close it here; it is whole there',
      connectionId: wire.id,
    });
  }
  return new NsmError('ALREADY_EXISTS', `could not ${failure.what}: the name is taken`, {
    rule: 'interface name',
    expected: 'a name that no other interface of the namespace has',
    found: failure.found,
    remedy: 'choose another interface name, or remove the interface that has it',
    connectionId: wire.id,
  });
}

/** A tunnel of WireGuard listens on a port of its own, in every address of the node. */
export function portTakenError(wire: Wire, failure: NetlinkFailure): NsmError {
  const ports = sides.flatMap((side) => {
    const end = wire[side];
    return end.kind === 'wireguard' ? [end.localPort] : [];
  });
  return new NsmError('ALREADY_EXISTS', `UDP port ${ports.join(' or ')} is taken on this node`, {
    rule: 'UDP port',
    expected: 'a port that no socket of this network namespace is bound to',
    found: failure.found,
    remedy: 'give VWIRE_WIREGUARD_PORTS a range that is free on this node',
    connectionId: wire.id,
  });
}

/** Known by the MAC, which follows from the connection at the client's manager, whoever carries it. */
function otherHolder(
  { client }: Wire,
  { what }: NetlinkFailure,
  others: readonly OthersLink[],
): OthersLink | undefined {
  if (client.kind !== 'kernel') return undefined;
  const { interfaceName, netns, macAddress } = client;
  if (what !== `create ${interfaceName} in ${netns}`) return undefined;
  return others.find(
    ({ tag }) =>
      tag.role === 'client' &&
      tag.interfaceName === interfaceName &&
      tag.macAddress === macAddress.toLowerCase(),
  );
}

export function laterVersionError(wireId: string, found: number, readable: number): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'a later version of vwire made this wire', {
    rule: 'tag version',
    expected: `at most ${readable}`,
    found: String(found),
    remedy: 'start the later version again, or close the connection there first',
    connectionId: wireId,
  });
}

/** An error with the rule of the end whose namespace was not found; any other one as it is. */
export function withNamespaceRule(wire: Wire, error: unknown): unknown {
  if (!(error instanceof NsmError) || error.code !== 'NOT_FOUND') return error;
  const { rule = '' } = error.details;
  // What failed names the namespace last: "enter URL", "create nsm-1 in URL".
  const side = sides.find((each) => {
    const end = wire[each];
    return end.kind === 'kernel' && rule.endsWith(` ${end.netns}`);
  });
  if (side === undefined) return error;
  const details = { ...error.details, rule: namespaceRules[side], connectionId: wire.id };
  return new NsmError(error.code, error.message, { ...details, cause: error });
}

/** Refusals that a look at the kernel may explain: what was thought to be (or not) there is not (or is). */
export const stale: readonly number[] = [
  errno.exists,
  errno.noDevice,
  errno.noEntry,
  errno.invalid,
  errno.noSuchRoute,
];

/** A link that is up is not renamed by this kernel. */
export function isUpToRename({ what, errno: number }: NetlinkFailure): boolean {
  return number === errno.busy && what.startsWith('rename ');
}

/** A filter of another kind stands where the redirect belongs. */
export function isInTheWay({ what, errno: number }: NetlinkFailure): boolean {
  return number === errno.invalid && what.startsWith('redirect ');
}
