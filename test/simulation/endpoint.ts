// One simulated Endpoint: a pod whose process may end and come back with its journal, or be destroyed for good.

import { composeNse } from '../../bin/roles/compose-nse.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import { Disk } from './disk.ts';
import type { Ground } from './ground.ts';
import type { Node } from './mesh.ts';
import { Part } from './part.ts';

export interface EndpointOptions {
  readonly name: string;
  readonly service: string;
  readonly node: Node;
  readonly cidr: string;
  readonly lifetimeMs: number;
  readonly keeps: boolean;
}

export class SimulatedEndpoint {
  readonly name: string;
  readonly service: string;
  readonly node: Node;
  /** A new one after each reboot of its machine. */
  netns: string;
  readonly disk = new Disk();
  readonly part: Part;
  isPodAlive = true;
  /** It answers no packet. */
  isDeaf = false;

  constructor(ground: Ground, options: EndpointOptions) {
    const { name, service, node, cidr, lifetimeMs, keeps } = options;
    this.name = name;
    this.service = service;
    this.node = node;
    this.netns = `inode://4/${2_000 + Number(name.slice(4))}`;
    this.part = new Part(ground, {
      name,
      place: node.name,
      compose: (life) =>
        composeNse(life.platform, {
          name,
          connectTo: node.managerUrl,
          listenOn: `memory:${node.name}/${name}`,
          serviceNames: [service],
          payload: 'IP',
          labels: {},
          cidrPrefixes: [[requirePrefix(cidr, 'simulation')]],
          registerService: true,
          maxTokenLifetimeMs: lifetimeMs,
          netns: this.netns,
          ...(keeps && { receivedPackets: (device) => this.#received(device) }),
          journal: this.disk.journalOf(life, () => ground.time.nowMs()),
        }),
    });
  }

  /** Nobody counts packets here: what is not refreshed is kept for the first look alone. */
  #received(device: string): Promise<bigint | undefined> {
    return Promise.resolve(this.node.world.interfaceIn(this.netns, device) && 0n);
  }

  onReboot(): void {
    this.netns = `${this.netns}0`;
  }

  destroyPod(): void {
    this.isPodAlive = false;
    this.part.kill('reset');
    this.node.world.removeNamespace(this.netns);
  }
}
