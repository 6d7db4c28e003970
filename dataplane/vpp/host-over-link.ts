// A host interface of VPP over a link of the node that carries frames of many: the way to other nodes, and networks
// outside of the mesh. It has the link's MAC, so that one such interface can be both.

import { parseMac } from '../../protocols/netlink/ip-address.ts';
import type { Link } from '../../protocols/netlink/link.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { afPacketFlags, afPacketMode } from '../../protocols/vpp/messages/enums.ts';
import { frameClassAt, frameClassFor } from './frame-classes.ts';
import { type FoundEnd, hostInterfaceName, type Inventory } from './inventory.ts';

interface Setup {
  readonly vpp: Vpp;
  readonly inventory: Inventory;
}

/** Frames that wait while VPP makes or takes away an interface, in rings of an end's own. */
const ringsOfWires = 4;

/** `text` is its tag; it is not up yet. */
export async function takeUpLink(
  { vpp, inventory }: Setup,
  { link, text }: { readonly link: Link; readonly text: string },
  budget: Budget,
): Promise<FoundEnd> {
  const { frameBytes, framesPerRing } = frameClassAt(frameClassFor(link.mtu));
  const askedAt = inventory.asking();
  const { sw_if_index: index } = await vpp.request(
    'af_packet_create_v3',
    {
      mode: afPacketMode.ethernet,
      hw_addr: parseMac(link.macAddress),
      use_random_hw_addr: false,
      host_if_name: link.name,
      rx_frame_size: frameBytes,
      tx_frame_size: frameBytes,
      rx_frames_per_block: framesPerRing * ringsOfWires,
      tx_frames_per_block: framesPerRing * ringsOfWires,
      num_rx_queues: 1,
      num_tx_queues: 1,
      flags: afPacketFlags.version2,
    },
    budget,
  );
  const { name: hostLink, macAddress } = link;
  const made = { index, name: hostInterfaceName(hostLink), text: '', isUp: false, hostLink };
  inventory.seen(askedAt, index, { ...made, macAddress });
  return tagInterface({ vpp, inventory }, { ...made, macAddress }, text, budget);
}

export async function tagInterface(
  { vpp, inventory }: Setup,
  host: FoundEnd,
  text: string,
  budget: Budget,
): Promise<FoundEnd> {
  const askedAt = inventory.asking();
  const tag = { is_add: true, sw_if_index: host.index, tag: text };
  await vpp.request('sw_interface_tag_add_del', tag, budget);
  const tagged = { ...(inventory.at(host.index) ?? host), text };
  inventory.seen(askedAt, host.index, tagged);
  return tagged;
}
