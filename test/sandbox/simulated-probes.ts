// Whether a simulated wire carries packets from a client's address to its Endpoint's: along the ends that the
// simulated kernels hold, from node to node, as a real packet would go.

import { createEchoJudge, type EchoJudgeOptions } from '../../actors/client/echo-judge.ts';
import { createEchoLiveness } from '../../actors/client/echo-liveness.ts';
import type {
  MadeEnd,
  SimulatedWire,
  SimulatedWorld,
} from '../../dataplane/simulated/simulated-world.ts';
import type { AddressPair } from '../../protocols/nsm/probed-wire.ts';
import type { VxlanEnd, WireguardEnd } from '../../protocols/ports/dataplane.ts';
import type { Liveness } from '../../protocols/ports/liveness.ts';
import type { Mesh } from './in-process-mesh.ts';
import { type Fate, simulatedEchoes } from './simulated-echoes.ts';

interface Kernel {
  readonly world: SimulatedWorld;
}

const usual: EchoJudgeOptions = { intervalMs: 50, missedMax: 4, firstAnswerMs: 1_000 };

/** For the `liveness` of a client; `override` has the last word where it has one. */
export function simulatedLiveness(
  mesh: Mesh,
  override: (pair: AddressPair) => Fate | undefined = () => undefined,
  options: EchoJudgeOptions = usual,
): Liveness {
  const fate = (pair: AddressPair): Fate => override(pair) ?? fateOn(mesh.nodes, pair);
  return createEchoLiveness({
    clock: mesh.clock,
    open: simulatedEchoes(mesh.clock, fate).open,
    confirmMsMax: 500,
    judge: (startMs) => createEchoJudge(options, startMs),
  });
}

/** As the simulated kernels of these nodes would carry it. */
export function fateOn(nodes: readonly Kernel[], { source, destination }: AddressPair): Fate {
  for (const wire of wiresOf(nodes)) {
    if (wire.client?.interface?.addresses.some((each) => isOf(each, source)) !== true) continue;
    if (!wire.client.interface.isUp) return 'hindered';
    return leadsTo(nodes, wire, destination) ? 'answered' : 'lost';
  }
  return 'hindered';
}

function leadsTo(nodes: readonly Kernel[], wire: SimulatedWire, destination: string): boolean {
  if (!wire.isJoined || wire.endpoint === undefined) return false;
  const { end, interface: last } = wire.endpoint;
  if (end.kind === 'kernel') {
    return last?.isUp === true && last.addresses.some((each) => isOf(each, destination));
  }
  for (const next of wiresOf(nodes)) {
    if (meets(end, next.client?.end)) return leadsTo(nodes, next, destination);
  }
  return false;
}

/** Whether what goes into the one tunnel comes out of the other. */
function meets(out: MadeEnd, into: MadeEnd | undefined): boolean {
  if (out.kind === 'vxlan' && into?.kind === 'vxlan') {
    return out.vni === into.vni && areEachOthers(out, into);
  }
  if (out.kind !== 'wireguard' || into?.kind !== 'wireguard') return false;
  return (
    out.peerPublicKey === into.publicKey &&
    into.peerPublicKey === out.publicKey &&
    areEachOthers(out, into)
  );
}

type Tunnel = VxlanEnd | WireguardEnd;

const areEachOthers = (out: Tunnel, into: Tunnel): boolean =>
  into.localIp === out.remoteIp &&
  into.remoteIp === out.localIp &&
  into.localPort === out.remotePort &&
  into.remotePort === out.localPort;

function* wiresOf(nodes: readonly Kernel[]): Generator<SimulatedWire> {
  for (const { world } of nodes) yield* world.wires();
}

function isOf(cidr: string, address: string): boolean {
  return cidr.split('/')[0] === address;
}
