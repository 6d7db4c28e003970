// Marks the calls to next hops so that a callee recognises one that the bus delivers late or twice: a Close that
// overtook its Request must not be undone by it. Epochs grow with every call of this process, incarnations with every
// start within a boot; neither comes from the wall clock, which may step back between two lives.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { Operation } from '../../protocols/ports/rpc.ts';

/** The next operation on a connection, in this hop's view of the path. */
export type NextOperation = (connection: Connection) => Operation;

export interface OperationsSetup {
  readonly clock: Clock;
  /** Of the boot that the clock counts from: lives of different boots cannot be compared. */
  readonly bootId: string;
  readonly random: Random;
}

export function createOperations({ clock, bootId, random }: OperationsSetup): NextOperation {
  const instance = random.uuid();
  const incarnation = Math.floor(clock.nowMs());
  let epoch = 0;
  return (connection) => {
    epoch += 1;
    // A first client's id is a name, and two clients may bear the same; every later hop's id is a UUID.
    const isFirst = (connection.path?.index ?? 0) === 0;
    const key = `${isFirst ? instance : bootId}/${connection.id}`;
    return { id: `${instance}/${epoch}`, key, epoch, incarnation };
  };
}
