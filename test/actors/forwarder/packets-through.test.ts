// Protects what counts as life of a wire at its forwarder: any packet between two workloads of the node; of a wire that
// leaves the node only packets from the other one; and nothing where an end is missing.

import { beforeEach, describe, expect, it } from 'vitest';
import { packetsThrough } from '../../../actors/forwarder/packets-through.ts';
import type { Finding } from '../../../actors/connection/keeping.ts';
import { wireOf } from '../../../actors/forwarder/wire-of.ts';
import { createSimulatedDataplane } from '../../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../../dataplane/simulated/simulated-world.ts';
import { withoutFarEnd } from '../../../protocols/nsm/far-end.ts';
import type { Connection, Mechanism } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { vxlanMechanism } from '../../../protocols/nsm/vxlan-mechanism.ts';
import { carry } from '../../sandbox/carry.ts';
import { wireguardMechanism } from '../../../protocols/nsm/wireguard-mechanism.ts';
import type { TunnelKeys } from '../../../protocols/ports/tunnel-keys.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { connectionAt } from '../connection/hop-request.ts';

const clock = createManualClock();
const near = kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName: 'nsm-1' });
const far = kernelMechanism({ netnsUrl: 'inode://4/2', interfaceName: 'nse-1' });
const tunnel = vxlanMechanism({ srcIp: '10.9.0.1', dstIp: '10.9.0.2', vni: 7 });

const key = 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=';
const keys: TunnelKeys = { wireguardPublicKey: () => key };
const encrypted = wireguardMechanism({
  srcIp: '10.9.0.1',
  dstIp: '10.9.0.2',
  srcPublicKey: key,
  dstPublicKey: key.replaceAll('Q', 'g'),
});

let world: SimulatedWorld;
let dataplane: ReturnType<typeof createSimulatedDataplane>;

beforeEach(() => {
  world = new SimulatedWorld();
  const mechanisms = ['KERNEL', 'VXLAN', 'WIREGUARD'];
  const owner = { installation: 'i', forwarder: 'f' };
  dataplane = createSimulatedDataplane({ world, clock, ...owner, mechanisms });
});

async function wire(client: Mechanism, onward: Mechanism): Promise<Connection> {
  const connection = connectionAt(1, ['client', 'f', 'nse'], { mechanism: client });
  await dataplane.ensure(wireOf({ answer: connection, client, onward, keys, hop: 'f' }), {
    timeoutMs: 1_000,
  });
  return connection;
}

function look(connection: Connection, onwardMechanism: Mechanism): Promise<Finding> {
  const { signal } = new AbortController();
  const intent = {
    connection,
    preferences: [],
    memory: { onwardMechanism },
    closeAtMs: 0,
    established: true,
  };
  const call = { deadlineMs: clock.nowMs() + 1_000, signal, headers: {} };
  return packetsThrough(dataplane, clock)(intent, call);
}

describe('packets that show life', () => {
  it.each([
    ['both workloads here', near, far, 11n],
    ['the Endpoint on another node', near, tunnel, 10n],
    ['the client on another node', tunnel, far, 1n],
    ['the Endpoint behind an encrypted tunnel', near, encrypted, 10n],
  ] as const)('%s', async (_, client, onward, packets) => {
    const connection = await wire(client, onward);
    carry(world, { fromClient: 1n, fromEndpoint: 10n });
    expect(await look(connection, onward)).toEqual({ kind: 'there', packets });
  });

  it('are not asked for where an end is missing, or the data plane does not answer', async () => {
    const connection = await wire(near, far);
    world.deleteEnd('i f', connection.id, 'endpoint');
    expect(await look(connection, far)).toMatchObject({ kind: 'unknown' });
    await dataplane.close();
    expect(await look(connection, far)).toMatchObject({ kind: 'unknown' });
  });

  it('mean nothing once the namespace of the Endpoint is known to be gone', async () => {
    const connection = await wire(near, far);
    const end = connection.path?.pathSegments.at(-1)?.id ?? '';
    const down = withoutFarEnd(connection, end) ?? connection;
    expect(await look(down, far)).toMatchObject({ kind: 'gone' });
  });
});
