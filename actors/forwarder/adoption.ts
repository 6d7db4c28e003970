// What a forwarder does with what an earlier life of it left: adopt what the journal intends, finish what is half
// made of it, remove what the journal knows to be over, and quarantine what nothing explains.

import { asNsmError, describeError, type NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { isWorkloadEnd, mechanismType } from '../../protocols/nsm/mechanism.ts';
import { readKernel } from '../../protocols/nsm/kernel-mechanism.ts';
import { readVxlan } from '../../protocols/nsm/vxlan-mechanism.ts';
import { readWireguard } from '../../protocols/nsm/wireguard-mechanism.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { type Dataplane, namespaceRules, takenOverRule } from '../../protocols/ports/dataplane.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import type { ConnectionTable, Intent } from '../connection/connection-table.ts';
import type { HopMemory } from '../connection/hop.ts';
import { type Completion, notHeldRule } from './completion.ts';
import type { Quarantine } from './quarantine.ts';
import { ownKeyName } from './tunnel-ends.ts';
import type { TunnelPorts } from './tunnel-ports.ts';
import type { VniTable } from './vni-table.ts';
import { wireOf } from './wire-of.ts';

export interface AdoptionSetup {
  readonly name: string;
  readonly table: ConnectionTable;
  readonly dataplane: Dataplane;
  readonly completion: Pick<Completion, 'complete'>;
  readonly vnis: VniTable;
  readonly tunnelPorts: TunnelPorts;
  /** Absent where the data plane makes no tunnels that need any. */
  readonly tunnelKeys?: TunnelKeys | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Time for one wire. */
  readonly wireTimeoutMs: number;
  readonly quarantine: Quarantine;
  /** Expired ones are adopted as well: each looks then whether its wire is alive. */
  readonly keepsExpired: boolean;
}

export interface Adopted {
  /** To be taken up: established connections, and those that are still to be closed behind this hop. */
  readonly intents: readonly Intent[];
  /** Ids of those established whose wires are not whole yet. */
  readonly incomplete: readonly string[];
}

export interface Adoption {
  /** Once every wire has been seen to; until then no Request may reach one. Never rejects. */
  readonly finished: Promise<Adopted>;
  /** Leaves the rest as it is. */
  close(): void;
}

/** Wires that are completed at the same time; they share looks at the kernel. */
const parallelMax = 32;

/** Resolves as soon as it is known what there is. Errors: the journal's and the data plane's. */
export async function adoptWires(setup: AdoptionSetup): Promise<Adoption> {
  const intents = await setup.table.load();
  const observed = await setup.dataplane.list({ timeoutMs: setup.wireTimeoutMs });
  setup.quarantine.hold(observed.filter(({ id }) => setup.table.get(id) === undefined));
  const stop = new AbortController();
  return {
    finished: settleAll(setup, intents, stop.signal),
    close: () => stop.abort(),
  };
}

async function settleAll(
  setup: AdoptionSetup,
  intents: readonly Intent[],
  signal: AbortSignal,
): Promise<Adopted> {
  const { clock, log, table, keepsExpired } = setup;
  const over: Intent[] = [];
  const incomplete: string[] = [];
  const queue = intents.values();
  const work = async (): Promise<void> => {
    for (const intent of queue) {
      if (signal.aborted) return;
      const mayLive = keepsExpired || intent.closeAtMs > clock.nowMs();
      const state =
        mayLive && intent.established ? await adopt(setup, intent, signal) : 'of no use';
      if (state === 'of no use') over.push(intent);
      if (state === 'incomplete') incomplete.push(intent.connection.id);
    }
  };
  await Promise.all(Array.from({ length: parallelMax }, work));
  if (over.length > 0) await removeOver(setup, over);
  log.info('adopted', { wires: intents.length - over.length, removed: over.length });
  return { intents: [...table.all()], incomplete };
}

async function removeOver(setup: AdoptionSetup, over: readonly Intent[]): Promise<void> {
  const { clock, dataplane, log, table, wireTimeoutMs } = setup;
  const ids = over.map(({ connection }) => connection.id);
  const budget = { timeoutMs: wireTimeoutMs };
  const isRemoved = await dataplane.remove(ids, budget, policyNamespaces(over)).then(
    () => true,
    (error: unknown) => {
      log.error('wires that are over could not be removed; each is closed again by itself', {
        wires: ids.length,
        error: describeError(error),
      });
      return false;
    },
  );
  for (const intent of over) {
    const { id } = intent.connection;
    try {
      // What is left is to tell the next hop, unless its own expiry has done so.
      if (isRemoved && intent.closeAtMs <= clock.nowMs()) await table.delete(id);
      else await table.put({ ...intent, established: false });
    } catch (error) {
      log.error('the journal does not take what adoption found', {
        connectionId: id,
        error: describeError(error),
      });
    }
  }
}

/** Where clients have policies that no `ensure` of this life has seen. */
function policyNamespaces(over: readonly Intent[]): ReadonlyMap<string, string> {
  return new Map(
    over.flatMap(({ connection: { id, context, mechanism } }) => {
      const policies = context?.ipContext?.policies ?? [];
      const isKernel = mechanism?.type === mechanismType.kernel;
      return policies.length > 0 && isKernel ? [[id, readKernel(mechanism).netnsUrl] as const] : [];
    }),
  );
}

/**
 * Another forwarder has taken the wire over, its manager has closed it meanwhile, or a namespace is gone. Where it is only the
 * Endpoint's, the client keeps its interface, finds another Endpoint and has the wire led there.
 */
function isOfNoUse({ mechanism }: Connection, { code, details }: NsmError): boolean {
  if (details.rule === takenOverRule) return true;
  if (details.rule === notHeldRule) return code === 'NOT_FOUND';
  const holdsClient = isWorkloadEnd(mechanism);
  return code === 'NOT_FOUND' && !(holdsClient && details.rule === namespaceRules.endpoint);
}

async function adopt(
  setup: AdoptionSetup,
  intent: Intent,
  signal: AbortSignal,
): Promise<'whole' | 'incomplete' | 'of no use'> {
  const { connection, memory } = intent;
  try {
    takePorts(setup.tunnelPorts, connection, memory);
    const wire = wireOf({
      answer: connection,
      client: connection.mechanism,
      onward: memory.onwardMechanism,
      nextName: memory.nextName,
      keys: setup.tunnelKeys,
      hop: setup.name,
    });
    if (connection.mechanism?.type === mechanismType.vxlan) {
      setup.vnis.take(connection.id, readVxlan(connection.mechanism).vni);
    }
    const budget = { timeoutMs: setup.wireTimeoutMs, signal };
    await setup.completion.complete(wire, memory.namespaces, budget);
    return 'whole';
  } catch (error) {
    const isGone = isOfNoUse(connection, asNsmError(error));
    setup.log.warn('a journaled wire could not be completed', {
      connectionId: connection.id,
      error: describeError(error),
      next: isGone ? 'removed' : 'left as it is',
    });
    if (isGone) {
      setup.vnis.release(connection.id);
      setup.tunnelPorts.release(connection.id);
    }
    return isGone ? 'of no use' : 'incomplete';
  }
}

/** What was agreed on stays agreed on: at each end the own port is that of the side which this node is. */
function takePorts(
  ports: TunnelPorts,
  { id, mechanism }: Connection,
  { onwardMechanism, nextName }: HopMemory,
): void {
  if (mechanism?.type === mechanismType.wireguard) {
    ports.take(id, ownKeyName(id, 'client'), readWireguard(mechanism).dstPort);
  }
  if (onwardMechanism?.type === mechanismType.wireguard) {
    ports.take(id, ownKeyName(id, 'endpoint', nextName), readWireguard(onwardMechanism).srcPort);
  }
}
