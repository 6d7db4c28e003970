// What must hold of a simulated mesh as a whole: while faults go on, once they have ended, and when everybody has left.

import type { SimulatedClient } from './client.ts';
import type { SimulatedMesh } from './mesh.ts';
import { whyBroken } from './walk.ts';

/** While anything goes on: no two wires that carry packets share an address in one service. */
export function checkShared(mesh: SimulatedMesh): void {
  const holders = new Map<string, SimulatedClient>();
  for (const client of mesh.clients) {
    client.checkAlive();
    if (client.last?.phase !== 'established' || !client.part.isRunning) continue;
    for (const address of client.established?.context?.ipContext?.srcIpAddrs ?? []) {
      const key = `${client.service} ${address}`;
      const other = holders.get(key);
      if (other === undefined) holders.set(key, client);
      else if (whyBroken(mesh, client) === undefined && whyBroken(mesh, other) === undefined) {
        const what = `${other.name} and ${client.name} both have ${address}`;
        mesh.ground.fail('no two live wires share an address', what);
      }
    }
  }
}

/** Undefined once every client that can be is established over a wire that carries packets. */
export function whyNotConverged(mesh: SimulatedMesh): string | undefined {
  for (const client of mesh.clients) {
    if (!client.wantsWire) continue;
    const serves = mesh.endpoints.some(
      ({ service, isPodAlive }) => service === client.service && isPodAlive,
    );
    if (!serves) continue;
    if (client.last?.phase !== 'established') return `${client.name} is ${client.last?.phase}`;
    const why = whyBroken(mesh, client);
    if (why !== undefined) return `${client.name}: ${why}`;
  }
  return undefined;
}

export function checkConverged(mesh: SimulatedMesh): void {
  const why = whyNotConverged(mesh);
  if (why !== undefined) mesh.ground.fail('after the faults every client is established', why);
}

/** Actors of connections are named after the connection, with a number. */
const connectionActor = /^[0-9a-f]{8}-[0-9a-f-]{27}\.\d+$/;

function checkActors({ ground, parts }: SimulatedMesh): void {
  for (const { name, life } of parts) {
    if (life?.isAlive !== true) continue;
    const left = life.system
      .tree()
      .filter(({ address: { path } }) => connectionActor.test(path[0] ?? ''));
    if (left.length > 0) ground.fail('no actor of a connection is left', `${name}: ${left.length}`);
  }
}

/** The clients have left, and everybody is there to hear it: no expiry is needed for their interfaces. */
export function checkGone({ ground, clients }: SimulatedMesh): void {
  for (const { name, interface: left } of clients) {
    if (left !== undefined)
      ground.fail('no interface outlives its client', `${name}: ${left.name}`);
  }
}

/** The clients have left, and the last expiry that anything of them may have had has passed. */
export function checkEmpty(mesh: SimulatedMesh): void {
  const { ground, nodes, endpoints, bucket } = mesh;
  checkActors(mesh);
  for (const { name, world, managerDisk, forwarders } of nodes) {
    const ends = world.objectCount();
    if (ends > 0) ground.fail('no end of a wire is left', `${ends} on ${name}`);
    if (world.takenCount > 0) ground.fail('no VNI is left', `${world.takenCount} on ${name}`);
    const disks = [managerDisk, ...forwarders.map(({ disk }) => disk)];
    const records = disks.flatMap(({ values }) => [...values.keys()]);
    if (records.length > 0) ground.fail('no journal record is left', `${name}: ${records.join()}`);
  }
  for (const { name, isPodAlive, disk } of endpoints) {
    if (isPodAlive && disk.values.size > 0) {
      ground.fail('no lease is left', `${name}: ${[...disk.values.keys()].join()}`);
    }
    const isRegistered = bucket.entries.has(`nse/${name}`);
    if (!isPodAlive && isRegistered) ground.fail('no dead Endpoint is registered', name);
  }
}
