// What one call of the VPP client takes, beside a control_ping, which VPP answers without doing anything: the floor of every
// call. Both take turns, one call at a time.

import type { Vpp } from '../../protocols/ports/vpp.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import { vppAddress } from '../../protocols/vpp/vpp-address.ts';
import { type Figure, judge, median, type Progress } from '../figure.ts';

const times = 300;
/** There while interfaces are dumped. */
const interfaceCount = 100;
const budget = { timeoutMs: 5_000 };

type Call = () => Promise<unknown>;

export async function callFigures(
  { vpp, suite }: { readonly vpp: Vpp; readonly suite: string },
  progress: Progress,
): Promise<readonly Figure[]> {
  const loopbacks = await Promise.all(
    Array.from({ length: interfaceCount }, () => vpp.request('create_loopback', {}, budget)),
  );
  const [a = 0, b = 0] = loopbacks.map(({ sw_if_index: index }) => index);
  const subInterfaces: number[] = [];
  const calls: readonly (readonly [string, (turn: number) => Promise<unknown>])[] = [
    ['VXLAN tunnel made', (turn) => tunnel(vpp, turn, true)],
    ['VXLAN tunnel taken away', (turn) => tunnel(vpp, turn, false)],
    [
      'sub-interface made',
      async (turn) => {
        const fields = { sw_if_index: a, vlan_id: turn + 1 };
        const { sw_if_index: made } = await vpp.request('create_vlan_subif', fields, budget);
        subInterfaces.push(made);
      },
    ],
    [
      'sub-interface taken away',
      (turn) => vpp.request('delete_subif', { sw_if_index: subInterfaces[turn] ?? 0 }, budget),
    ],
    ['cross connect', (turn) => crossConnect(vpp, turn % 2 === 0 ? [a, b] : [b, a])],
    [
      `list of ${interfaceCount} interfaces`,
      () => vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget),
    ],
  ];
  const figures: Figure[] = [];
  for (const [name, call] of calls) {
    progress(`${name}, ${times} times`);
    figures.push(await figureOf(vpp, { suite, name, call }));
  }
  return figures;
}

async function figureOf(
  vpp: Vpp,
  { suite, name, call }: { suite: string; name: string; call: (turn: number) => Promise<unknown> },
): Promise<Figure> {
  const floor: number[] = [];
  const calls: number[] = [];
  for (let turn = 0; turn < times; turn++) {
    floor.push(await microseconds(() => vpp.request('control_ping', {}, budget)));
    calls.push(await microseconds(() => call(turn)));
  }
  return judge({
    suite,
    name: `a call of the client: ${name}`,
    value: median(calls),
    unit: 'us',
    limitName: 'its control_ping',
    limitValue: median(floor),
  });
}

async function microseconds(call: Call): Promise<number> {
  const startMs = performance.now();
  await call();
  return (performance.now() - startMs) * 1_000;
}

function tunnel(vpp: Vpp, turn: number, isThere: boolean): Promise<unknown> {
  const fields = {
    is_add: isThere,
    instance: turn,
    src_address: vppAddress('192.0.2.1'),
    dst_address: vppAddress('192.0.2.2'),
    src_port: 4789,
    dst_port: 4789,
    mcast_sw_if_index: allOnes,
    encap_vrf_id: 0,
    decap_next_index: allOnes,
    vni: turn + 1,
  };
  return vpp.request('vxlan_add_del_tunnel_v3', fields, budget);
}

function crossConnect(vpp: Vpp, [from, to]: readonly [number, number]): Promise<unknown> {
  const fields = { rx_sw_if_index: from, tx_sw_if_index: to, enable: true };
  return vpp.request('sw_interface_set_l2_xconnect', fields, budget);
}
