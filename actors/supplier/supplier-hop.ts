// The supplier's part of a connection: it is asked like any Endpoint, has one started, and refuses. Invariant: every
// Request is refused, and the refusal says what to do: the client's next try finds the Endpoint, once it is registered.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { supplyRule } from '../../protocols/nsm/supplier.ts';
import type { Hop } from '../connection/hop.ts';
import type { ActorRef, ActorSystem } from '../runtime/api.ts';
import type { Supply, SupplierMessage } from './supplier.ts';

export interface SupplierHopSetup {
  readonly name: string;
  readonly system: Pick<ActorSystem, 'ask'>;
  readonly supplier: ActorRef<SupplierMessage>;
  readonly clock: { nowMs(): number };
  /** The node that Endpoints are started on; undefined: it takes clients of every node for its own. */
  readonly nodeName: string | undefined;
}

/** An Endpoint that is not registered after this long is not worth asking for every moment. */
const soonMs = 15_000;

export function supplierHop(setup: SupplierHopSetup): Hop {
  return {
    async request({ connection, call }) {
      refuseOtherNode(setup, connection);
      const timeoutMs = Math.max(1, call.deadlineMs - setup.clock.nowMs());
      const { system, supplier } = setup;
      let supply: Supply;
      try {
        supply = await system.ask<SupplierMessage, Supply>(
          supplier,
          (replyTo) => ({ type: 'supply', connection, replyTo }),
          { timeoutMs, signal: call.signal },
        );
      } catch (thrown) {
        throw withHop(setup, thrown, connection);
      }
      throw onItsWay(setup, supply, connection);
    },
    close: () => Promise.resolve(),
  };
}

function refuseOtherNode({ name, nodeName }: SupplierHopSetup, connection: Connection): void {
  const asking = connection.labels['nodeName'];
  if (nodeName === undefined || asking === undefined || asking === nodeName) return;
  throw new NsmError(
    'FAILED_PRECONDITION',
    'this supplier starts Endpoints on its own node alone',
    {
      hop: name,
      rule: 'supply-node',
      expected: `a client of node ${nodeName}`,
      found: `nodeName=${asking}`,
      remedy: `run a supplier on ${asking}, and let the service route to it by nodeName: "{{ .nodeName }}"`,
      connectionId: connection.id,
    },
  );
}

function onItsWay(
  { name }: SupplierHopSetup,
  { endpoint, ageMs }: Supply,
  connection: Connection,
): NsmError {
  const age = ageMs === 0 ? 'just now' : `${Math.round(ageMs)} ms ago`;
  return new NsmError('UNAVAILABLE', `the Endpoint ${endpoint.name} is on its way`, {
    hop: name,
    rule: ageMs <= soonMs ? supplyRule : `${supplyRule}-overdue`,
    expected: 'a Request after it has registered',
    found: `${endpoint.what}, started ${age}`,
    remedy:
      ageMs <= soonMs
        ? 'ask again; a client does so by itself'
        : `read the log of ${endpoint.name}: does it register, and do the matches of the service pick it?`,
    connectionId: connection.id,
  });
}

function withHop({ name }: SupplierHopSetup, thrown: unknown, connection: Connection): NsmError {
  const { code, message, details } = asNsmError(thrown);
  return new NsmError(code, message, {
    ...details,
    hop: name,
    connectionId: connection.id,
    cause: thrown,
  });
}
