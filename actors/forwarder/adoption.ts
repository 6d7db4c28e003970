// What a forwarder does with what an earlier life of it left: adopt what the journal intends, finish what is half
// made of it, remove what the journal knows to be over, and quarantine what nothing explains. A missing intent is no
// proof of an orphan: a quarantined wire stays untouched until a refresh claims it or the last expiry that it may
// have had has passed.

import { asNsmError, describeError } from '../../protocols/errors.ts';
import { mechanismType } from '../../protocols/nsm/mechanism.ts';
import { readVxlan } from '../../protocols/nsm/vxlan-mechanism.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ConnectionTable, Intent } from '../connection/connection-table.ts';
import type { VniTable } from './vni-table.ts';
import { wireOf } from './wire-of.ts';

export interface AdoptionSetup {
  readonly name: string;
  readonly table: ConnectionTable;
  readonly dataplane: Dataplane;
  readonly vnis: VniTable;
  readonly clock: Clock;
  readonly log: Log;
  /** Time for one wire. */
  readonly wireTimeoutMs: number;
  /** Longest that an unexplained wire may still be worth something: the maximum token lifetime. */
  readonly quarantineMs: number;
}

export interface Adoption {
  /** To be taken up: established connections, and those that are still to be closed behind this hop. */
  readonly adopted: readonly Intent[];
  /** Wires that no intent explains, and that no refresh has claimed yet. */
  quarantined(): readonly string[];
  close(): void;
}

export async function adoptWires(setup: AdoptionSetup): Promise<Adoption> {
  const budget = { timeoutMs: setup.wireTimeoutMs };
  const intents = await setup.table.load();
  const observed = await setup.dataplane.list(budget);
  const unexplained = observed
    .map(({ id }) => id)
    .filter((id) => setup.table.get(id) === undefined);
  const adopted: Intent[] = [];
  const over: Intent[] = [];
  for (const intent of intents) {
    const isDue = intent.closeAtMs > setup.clock.nowMs();
    if (isDue && intent.established && (await isAdopted(setup, intent))) adopted.push(intent);
    else over.push(intent);
  }
  await setup.dataplane.remove(
    over.map(({ connection }) => connection.id),
    budget,
  );
  for (const intent of over) {
    // The wire is gone; what is left is to tell the next hop, unless its own expiry has done so.
    const unfinished: Intent = { ...intent, established: false };
    if (intent.closeAtMs > setup.clock.nowMs()) await setup.table.put(unfinished);
    else await setup.table.delete(intent.connection.id);
  }
  setup.log.info('adopted', {
    wires: adopted.length,
    removed: over.length,
    quarantined: unexplained.length,
  });
  return { adopted: [...setup.table.all()], ...quarantine(setup, unexplained) };
}

async function isAdopted(setup: AdoptionSetup, intent: Intent): Promise<boolean> {
  const { connection, memory } = intent;
  try {
    const wire = wireOf({
      answer: connection,
      client: connection.mechanism,
      onward: memory.onwardMechanism,
      hop: setup.name,
    });
    if (connection.mechanism?.type === mechanismType.vxlan) {
      setup.vnis.take(connection.id, readVxlan(connection.mechanism).vni);
    }
    await setup.dataplane.ensure(wire, { timeoutMs: setup.wireTimeoutMs });
    return true;
  } catch (error) {
    const isGone = asNsmError(error).code === 'NOT_FOUND';
    setup.log.warn('a journaled wire could not be completed', {
      connectionId: connection.id,
      error: describeError(error),
      next: isGone ? 'removed' : 'left as it is',
    });
    if (isGone) setup.vnis.release(connection.id);
    return !isGone;
  }
}

function quarantine(
  setup: AdoptionSetup,
  unexplained: readonly string[],
): Pick<Adoption, 'quarantined' | 'close'> {
  let released = false;
  const quarantined = (): readonly string[] =>
    released ? [] : unexplained.filter((id) => setup.table.get(id) === undefined);
  const release = async (): Promise<void> => {
    const ids = quarantined();
    released = true;
    setup.log.info('quarantined wires ended: no expiry can still hold them', { wires: ids.length });
    await setup.dataplane.remove(ids, { timeoutMs: setup.wireTimeoutMs });
  };
  const timer: Timer | undefined =
    unexplained.length === 0
      ? undefined
      : setup.clock.after(setup.quarantineMs, () => {
          void release().catch((error: unknown) =>
            setup.log.error('quarantined wires could not be removed', {
              error: describeError(error),
            }),
          );
        });
  return { quarantined, close: () => timer?.cancel() };
}
