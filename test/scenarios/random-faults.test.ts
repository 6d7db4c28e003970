// Protects the promise that whatever comes and goes, in any order, the mesh converges: every client that is there is
// established, no two wires share an address, and the data plane holds exactly their wires. A failing seed replays.

import { expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { seededRandom } from '../actors/runtime/fixture.ts';
import {
  type ClientPart,
  createMesh,
  type Mesh,
  type Node,
  type Part,
} from '../sandbox/in-process-mesh.ts';

const seeds = [1, 2, 3, 4, 5, 6];
const stepsPerSeed = 25;

class Run {
  readonly mesh: Mesh;
  readonly #random;
  readonly #clients = new Map<string, ClientPart>();
  readonly #endpoints: Part[] = [];
  #started = 0;

  constructor(mesh: Mesh, seed: number) {
    this.mesh = mesh;
    this.#random = seededRandom(seed);
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[this.#random.integer(from.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }

  async startEndpoint(): Promise<void> {
    this.#started += 1;
    const cidr = `172.16.${this.#started}.0/28`;
    const node = this.#pick(this.mesh.nodes);
    this.#endpoints.push(await this.mesh.addEndpoint(node, `nse-${this.#started}`, { cidr }));
  }

  startClient(): void {
    this.#started += 1;
    const name = `nsc-${this.#started}`;
    this.#clients.set(name, this.mesh.addClient(this.#pick(this.mesh.nodes), name));
  }

  async #stopClient(): Promise<void> {
    const name = [...this.#clients.keys()][0];
    if (name === undefined) return;
    await this.#clients.get(name)?.stop();
    this.#clients.delete(name);
  }

  async #stopEndpoint(): Promise<void> {
    if (this.#endpoints.length < 2) return;
    await this.#endpoints.shift()?.stop();
  }

  async #restart(part: { stop(): Promise<void>; start(): Promise<void> } | undefined) {
    await part?.stop();
    await this.mesh.clock.advance(this.#random.integer(3_000));
    await part?.start();
  }

  async step(): Promise<void> {
    const node: Node = this.#pick(this.mesh.nodes);
    const steps: readonly (() => Promise<void>)[] = [
      async () => this.startClient(),
      async () => this.startClient(),
      () => this.#stopClient(),
      () => this.startEndpoint(),
      () => this.#stopEndpoint(),
      () => this.#restart(node.manager),
      () => this.#restart(node.forwarders[0]),
      () =>
        this.#restart({
          stop: () => this.mesh.stopRegistry(),
          start: () => this.mesh.startRegistry(),
        }),
      () => this.mesh.clock.advance(this.#random.integer(200_000)),
    ];
    await this.#pick(steps)();
    await this.mesh.clock.advance(this.#random.integer(500));
  }

  async connections(): Promise<readonly Connection[]> {
    const found: Connection[] = [];
    for (const [name, client] of this.#clients) {
      found.push(await client.established(`${name}-0`));
    }
    return found;
  }
}

it.each(seeds)('the mesh converges after random comings and goings (seed %i)', async (seed) => {
  const mesh = await createMesh(2);
  const run = new Run(mesh, seed);
  await run.startEndpoint();
  run.startClient();
  for (let step = 0; step < stepsPerSeed; step += 1) await run.step();
  // Long enough for whatever nobody could be told of to expire.
  await mesh.clock.advance(700_000);
  const connections = await run.connections();
  const addresses = connections.flatMap(({ context }) => context?.ipContext?.srcIpAddrs ?? []);
  expect(addresses.length).toBe(connections.length);
  expect(new Set(addresses).size, 'addresses of live wires').toBe(addresses.length);
  const ends = connections.map(({ path }) => (path?.pathSegments.length ?? 0) - 2);
  expect(mesh.objects).toBe(ends.reduce((sum, each) => sum + each, 0));
  await mesh.end();
});
