// One client actor before a fake manager, with time by hand. Made anew for each test; `end` checks that nothing is left.

import { expect } from 'vitest';
import { clientBehavior } from '../../../actors/client/client.ts';
import type { ClientMessage, ClientStatus } from '../../../actors/client/client-setup.ts';
import { createNextHop } from '../../../actors/connection/next-hop.ts';
import { createNextHopMonitors } from '../../../actors/connection/next-hop-monitors.ts';
import { createOperations } from '../../../actors/connection/operations.ts';
import { emptyTokens } from '../../../actors/connection/tokens.ts';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import type { ActorRef } from '../../../actors/runtime/api.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import type { Liveness } from '../../../protocols/ports/liveness.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';
import { FakeManager, lifetimeMs } from './fake-manager.ts';

export const ownNamespace = 'inode://4/1';
const ownMechanism = kernelMechanism({ netnsUrl: ownNamespace, interfaceName: 'nsm-1' });

interface Start {
  readonly endpointName?: string;
  readonly liveness?: Liveness;
  readonly mechanism?: typeof ownMechanism;
}

export type ClientFixture = Awaited<ReturnType<typeof createClientFixture>>;

export async function createClientFixture() {
  const clock = createManualClock();
  const random = seededRandom(1);
  const manager = new FakeManager(clock);
  const { dialer } = manager;
  const log = silentLog;
  const system = createActorSystem({ name: 'nsc', clock, random, log });
  const monitors = createNextHopMonitors({ name: 'nsc', dialer, clock, random, log });
  const nextOperation = createOperations({ clock, bootId: 'boot', random });
  const nextHop = createNextHop({
    name: 'nsc',
    dialer,
    clock,
    wallClock: clock,
    log,
    random,
    nextOperation,
  });
  const statuses: ClientStatus[] = [];
  let client: ActorRef<ClientMessage>;
  await manager.start();

  const phases = () => statuses.map(({ phase }) => phase);

  const start = ({ endpointName, liveness, mechanism = ownMechanism }: Start = {}): void => {
    const behavior = clientBehavior({
      name: 'nsc',
      dialer,
      nextHop,
      wallClock: clock,
      tokens: emptyTokens(clock, lifetimeMs),
      connectionId: 'nsc-0',
      networkService: 'service',
      ...(endpointName === undefined ? {} : { endpointName }),
      ...(liveness === undefined ? {} : { liveness }),
      labels: { app: 'test' },
      preferences: [mechanism],
      connectTo: 'memory:manager',
      monitors,
      requestTimeoutMs: 15_000,
      retry: { firstMs: 100, mostMs: 5_000 },
      onStatus: (status) => statuses.push(status),
    });
    client = system.spawn(behavior, 'nsc-0');
  };

  const closing = (): Promise<void> => {
    const closed = system.ask<ClientMessage, void>(
      client,
      (replyTo) => ({ type: 'close', replyTo }),
      { timeoutMs: 20_000 },
    );
    closed.catch(() => {});
    return closed;
  };

  return {
    clock,
    manager,
    system,
    statuses,
    start,
    phases,
    async established(endpointName?: string): Promise<void> {
      start(endpointName === undefined ? {} : { endpointName });
      await clock.advance(1);
      expect(phases()).toEqual(['established']);
    },
    closing,
    async close(): Promise<void> {
      const closed = closing();
      await clock.advance(1);
      await closed;
    },
    /** Forgets what has been seen so far. */
    forget(): void {
      manager.forget();
      statuses.length = 0;
    },
    states: () => manager.asked.map(({ connection }) => connection.state),
    /** Between one Request and the next, in ms. */
    gaps: () => manager.asked.slice(1).map(({ atMs }, at) => atMs - (manager.asked[at]?.atMs ?? 0)),
    async end(): Promise<void> {
      monitors.close();
      await manager.stop();
      await system.stop(1_000);
      expect(clock.pendingTimers, 'timers left behind').toBe(0);
    },
  };
}
