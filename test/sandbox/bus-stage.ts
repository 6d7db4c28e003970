// Parts of a mesh on a secured bus, each with an identity of its own: who serves, who calls, and a tap that hears all.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import type { BusUser } from '../../protocols/messages/bus-rights.ts';
import { busRightsOf, registryBucketOf } from '../../protocols/messages/bus-rights.ts';
import { ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import type { NatsBus } from '../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { createNatsRegistryStore } from '../../transports/nats/registry-store.ts';
import { systemWallClock } from '../../transports/process/system-clock.ts';
import { beatMs } from '../contract/rpc-bindings.ts';
import { TestIdentities } from './identities.ts';
import { type SecuredBus, startSecuredBus } from './secured-bus.ts';

export const domain = 'dom.test';
export const idOf = (name: string): string => `spiffe://home.test/${name}`;
const managerUrl = `nats://${domain}/node-1/nsmgr`;

export const users: readonly BusUser[] = [
  { spiffeId: idOf('registry'), roles: ['registry'] },
  { spiffeId: idOf('nsmgr'), roles: ['nsmgr'], node: 'node-1' },
  { spiffeId: idOf('forwarder'), roles: ['forwarder'], node: 'node-1' },
  { spiffeId: idOf('nse'), roles: ['endpoint'], node: 'node-1', component: 'nse' },
  { spiffeId: idOf('nsc'), roles: ['client'], node: 'node-1' },
  { spiffeId: idOf('nobody'), roles: [] },
];

export class BusStage {
  readonly identities: TestIdentities;
  readonly secured: SecuredBus;
  readonly #cleanUps: (() => Promise<unknown>)[] = [];
  readonly #known = new Map<string, Promise<Identity>>();

  static async open(svidLifetimeMs = 3_600_000): Promise<BusStage> {
    const identities = new TestIdentities({ svidLifetimeMs });
    return new BusStage(identities, await startSecuredBus(identities, domain, users));
  }

  private constructor(identities: TestIdentities, secured: SecuredBus) {
    this.identities = identities;
    this.secured = secured;
  }

  /** Run before what is there already has ended. */
  atEnd(cleanUp: () => Promise<unknown>): void {
    this.#cleanUps.push(cleanUp);
  }

  async close(): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
    await this.secured.close();
    await this.identities.close();
  }

  /** One source for each name. */
  identity(name: string): Promise<Identity> {
    let known = this.#known.get(name);
    if (known === undefined) this.#known.set(name, (known = this.identities.source(name)));
    return known;
  }

  async #connect(name: string) {
    const identity = await this.identity(name);
    const bus = await this.secured.connect(identity);
    const seals = new BusSeals({ identity, wallClock: systemWallClock, log: silentLog });
    this.atEnd(async () => {
      await bus.close();
      seals.close();
    });
    return { bus, seals };
  }

  /** A manager that answers with who has called. */
  async serve(name: string) {
    const { bus, seals } = await this.#connect(name);
    const served: string[] = [];
    const service = serve(NetworkService, {
      request: ({ connection }, { peer }) => {
        served.push(connection?.id ?? '');
        return Promise.resolve(create(ConnectionSchema, { id: peer.spiffeId ?? '' }));
      },
      close: () => Promise.resolve(create(EmptySchema)),
    });
    const listening = await createNatsListener(bus, { beatMs, seals }).listen(managerUrl, [
      service,
    ]);
    this.atEnd(() => listening.close(0));
    return { served, bus };
  }

  async caller(name: string) {
    const { bus, seals } = await this.#connect(name);
    const dialer = createNatsDialer(bus, { beatMs, seals });
    this.atEnd(() => dialer.close());
    const client = dialer.dial(managerUrl).client(NetworkService);
    const ask = async (id: string): Promise<string> => {
      const request = create(NetworkServiceRequestSchema, { connection: { id } });
      return (await client.request(request, { timeoutMs: 10_000 })).id;
    };
    return { ask, bus };
  }

  async store(name: string): Promise<RegistryStore> {
    const { bus } = await this.#connect(name);
    const store = createNatsRegistryStore({ bus, bucket: registryBucketOf(domain) });
    this.atEnd(() => store.close());
    return store;
  }

  /** Subscribed where parts of the mesh listen, by their own right. */
  async tap() {
    const heard: string[] = [];
    const buses: NatsBus[] = [];
    for (const name of ['registry', 'nsmgr', 'forwarder', 'nse', 'nsc']) {
      const { bus } = await this.#connect(name);
      buses.push(bus);
      const user = users.find(({ spiffeId }) => spiffeId === idOf(name));
      for (const subject of user === undefined ? [] : busRightsOf(user, domain).subscribe) {
        bus.subscribe(subject, {
          callback: (error, message) => {
            if (error === null) heard.push(message.subject);
          },
        });
      }
      await bus.flush();
    }
    return { heard, flush: () => Promise.all(buses.map((bus) => bus.flush())) };
  }
}
