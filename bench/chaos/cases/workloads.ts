// What happens to clients and Endpoints themselves: their processes die and come back in a namespace that lives, die
// for good, or are gone with their namespace while another Endpoint is there.

import type { ChaosCase } from '../case.ts';
import { eventually } from '../../../test/sandbox/eventually.ts';
import { servicePort } from '../ports.ts';
import { monotonicMs } from '../probe.ts';
import type { Scene } from '../scene.ts';
import { localAndRemote, nodeOf } from './wires.ts';

const windowMs = 4_000;
const quickWindowMs = 2_000;

export const clientRestart: ChaosCase = {
  name: 'kill-client',
  title: 'client processes: kill -9, started again',
  windowMs,
  bound: { lost: 0 },
  setUp: localAndRemote,
  async fault({ wires }) {
    await Promise.all(wires.map((wire) => wire.killClient()));
    return undefined;
  },
};

export const endpointRestart: ChaosCase = {
  name: 'kill-endpoint',
  title: 'Endpoint processes: kill -9, started again in their living namespaces',
  windowMs,
  bound: { lost: 0 },
  setUp: localAndRemote,
  async fault({ endpoints }) {
    await Promise.all(
      endpoints.map(async (endpoint) => {
        await endpoint.kill();
        await endpoint.start();
      }),
    );
    return undefined;
  },
};

/** Nobody to go to, and the wire carries packets: it is left alone. */
export const endpointProcessLost: ChaosCase = {
  name: 'endpoint-process-lost',
  title: 'Endpoint processes killed for good, their namespaces live: the wires stay',
  windowMs,
  bound: { lost: 0 },
  isFreshEachRound: true,
  isWellAgain: () => Promise.resolve(),
  setUp: localAndRemote,
  async fault({ endpoints }) {
    await Promise.all(endpoints.map((endpoint) => endpoint.kill()));
    return undefined;
  },
};

/** The service ends with the process while the namespace answers pings; another Endpoint is there. */
export const serviceLost: ChaosCase = {
  name: 'service-lost',
  title: 'Endpoint process and its service dead, namespace alive, with VWIRE_SERVICE_PROBE',
  windowMs,
  bound: { wellAgain: 500, addressesMayChange: true },
  isFreshEachRound: true,
  async setUp(scene) {
    const wire = await scene.addWire({
      service: 'probed',
      endpointNode: nodeOf(scene, 1),
      clientEnv: { VWIRE_SERVICE_PROBE: `tcp:${servicePort}` },
    });
    await scene.addEndpoint(nodeOf(scene, 2), wire.service);
  },
  async fault(scene) {
    const [wire] = scene.wires;
    if (wire === undefined) throw new Error('the case has a wire');
    const victim = scene.endpointOf(wire);
    const faultMs = monotonicMs();
    victim.endService();
    await victim.kill();
    return faultMs;
  },
  isWellAgain: isAtSurvivor,
};

/** The client has gone from the first Endpoint to the second. */
async function isAtSurvivor(scene: Scene, timeoutMs: number): Promise<void> {
  const survivor = scene.endpoints[1]?.name;
  await eventually('the client is at the other Endpoint', timeoutMs, () => {
    const report = scene.wires[0]?.report();
    if (report?.event === 'established' && report.endpoint === survivor) return;
    throw new Error(`found: ${report?.event} at ${report?.endpoint}`);
  });
}

const places = ['local', 'remote'] as const;
const numberOf = { local: 1, remote: 2 } as const;

/** The Endpoint and its namespace are gone; the other one was there all the time. */
export const destroyedEndpoints: readonly ChaosCase[] = places.flatMap((lost) =>
  places.map(
    (other): ChaosCase => ({
      name: `destroy-endpoint-${lost}-to-${other}`,
      title: `Endpoint and its namespace destroyed, ${lost}, another one ${other}`,
      windowMs,
      ...(lost === 'remote' && other === 'local' ? { quickWindowMs } : {}),
      bound: { restored: { worst: 500, median: 150 }, addressesMayChange: true },
      isFreshEachRound: true,
      async setUp(scene) {
        const wire = await scene.addWire({
          service: lost,
          endpointNode: nodeOf(scene, numberOf[lost]),
        });
        await scene.addEndpoint(nodeOf(scene, numberOf[other]), wire.service);
      },
      async fault(scene) {
        const [wire] = scene.wires;
        if (wire === undefined) throw new Error('the case has a wire');
        const victim = scene.endpointOf(wire);
        const faultMs = monotonicMs();
        await victim.destroy();
        return faultMs;
      },
      async isWellAgain(scene, timeoutMs) {
        await isAtSurvivor(scene, timeoutMs);
        await scene.contented(timeoutMs);
      },
    }),
  ),
);
