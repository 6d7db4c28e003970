// Who takes part in a soak: connections by hand and clients that heal, on both nodes, and what can be done with each.
// Invariant: one operation at a time per member; a wire that nobody broke carries packets and ends at the interface
// that it was made with.

import { describeError } from '../../protocols/errors.ts';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import { eventually } from '../../test/sandbox/eventually.ts';
import { addressesOf, interfacesOf } from '../../test/sandbox/mesh-probes.ts';
import type { TestClient } from '../../test/sandbox/mesh-workloads.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { ping } from '../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import type { Stage } from '../chaos/stage.ts';
import type { Hand } from './hand.ts';

export interface Member {
  readonly name: string;
  /** An operation is under way. */
  isBusy: boolean;
  readonly isIdle: boolean;
  create(service: string): Promise<void>;
  /** To be refreshed before anything else. */
  readonly isDue?: boolean;
  /** Nobody could refresh it in time. */
  readonly mayBeOver?: boolean;
  /** Absent where it does so by itself. */
  refresh?(): Promise<void>;
  reselect?(): Promise<void>;
  close(): Promise<void>;
  /** Its namespace ends. */
  vanish(): Promise<void>;
  /** Throws where the wire that it holds does not carry packets. */
  check(): Promise<void>;
  /** The Endpoint that it is joined to. */
  readonly endpoint: string | undefined;
}

/** Repairs, of damage by hand or of a lost Endpoint, may take this long on a loaded machine. */
const healthyTimeoutMs = 20_000;

/** What was done with a member, for whoever has to explain what became of its wire. */
const rememberedMax = 8;

export function handMember(stage: Stage, hand: Hand): Member {
  let index: number | undefined;
  const past: string[] = [];
  const remembering = async (what: string, work: () => Promise<void>): Promise<void> => {
    const at = new Date().toISOString().slice(11, 23);
    let result = 'done';
    try {
      await work();
    } catch (error) {
      result = describeError(error).slice(0, 160);
      throw error;
    } finally {
      const id = hand.connection?.path?.pathSegments[1]?.id.slice(0, 8) ?? 'no connection';
      past.push(`${at} ${what}: ${result}, ${id}, interface ${await indexNow()}`);
      past.splice(0, past.length - rememberedMax);
    }
  };
  const indexNow = async (): Promise<number | undefined> =>
    (await interfacesOf(stage.netlink, hand.namespace))[0]?.index;
  return {
    name: hand.name,
    isBusy: false,
    get isIdle() {
      return hand.isFree;
    },
    get isDue() {
      return hand.isDue;
    },
    get mayBeOver() {
      return hand.mayBeOver;
    },
    get endpoint() {
      return hand.connection?.networkServiceEndpointName;
    },
    create: (service) =>
      remembering(`create to ${service}`, async () => {
        await hand.create(service);
        index = await indexNow();
      }),
    refresh: () => remembering('refresh', () => hand.refresh()),
    reselect: () => remembering('reselect', () => hand.reselect()),
    close: () => remembering('close', () => hand.close()),
    vanish: () => remembering('vanish', () => Promise.resolve(hand.vanish())),
    async check() {
      if (hand.connection === undefined) return;
      await carriesPackets(stage, hand.name, hand.namespace, () => hand.connection).catch(
        (error: unknown) => {
          throw new Error(`${describeError(error)}; before: ${past.join(' | ')}`, { cause: error });
        },
      );
      const now = await indexNow();
      if (now === index) return;
      const what = `${hand.name} has interface ${now} in place of ${index}`;
      index = now;
      throw new Error(`${what}; before: ${past.join(' | ')}`);
    },
  };
}

export function clientMember(stage: Stage, name: string, node: MeshNode): Member {
  let client: TestClient | undefined;
  let namespace = stage.namespace();
  const status = () => client?.statuses[0];
  const connection = () => {
    const now = status();
    return now !== undefined && 'connection' in now ? now.connection : undefined;
  };
  const close = async (): Promise<void> => {
    await client?.stop();
    client = undefined;
  };
  return {
    name,
    isBusy: false,
    get isIdle() {
      return client === undefined;
    },
    get endpoint() {
      return connection()?.networkServiceEndpointName;
    },
    async create(service) {
      const services = `kernel://${service}/nsm-1`;
      client = await stage.workloads.client({ name, node, namespace, services });
      await client.connection();
    },
    close,
    async vanish() {
      namespace.close();
      namespace = stage.namespace();
      await close();
    },
    async check() {
      if (connection() === undefined) return;
      await carriesPackets(stage, name, namespace, connection);
    },
  };
}

async function carriesPackets(
  stage: Stage,
  name: string,
  namespace: NetworkNamespace,
  connection: () => Connection | undefined,
): Promise<void> {
  try {
    await eventually(`the wire of ${name} carries packets`, healthyTimeoutMs, async () => {
      const now = connection();
      const destination = (now && addressesOf(now).endpoint[0]) ?? '';
      const options = { destination, count: 3, intervalMs: 5, timeoutMs: 500 };
      const { received } = await ping({ ...options, namespace: namespace.url });
      if (received === 0) throw new Error(`found: no answer of ${destination}`);
    });
  } catch (error) {
    const facts = await wireFacts(stage, namespace, connection());
    throw new Error(`${describeError(error)}; ${facts}`, { cause: error });
  }
}

/** For whoever has to explain a wire that carries nothing. */
async function wireFacts(
  stage: Stage,
  namespace: NetworkNamespace,
  connection: Connection | undefined,
): Promise<string> {
  const interfaces = await interfacesOf(stage.netlink, namespace);
  const path = connection?.path?.pathSegments.map(({ name, id }) => `${name} ${id.slice(0, 8)}`);
  const { srcIpAddrs, dstIpAddrs } = connection?.context?.ipContext ?? {};
  const shown = { path, state: connection?.state, srcIpAddrs, dstIpAddrs, interfaces };
  return JSON.stringify(shown);
}
