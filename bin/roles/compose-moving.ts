// Puts together what moves a manager's clients: drains, changes of Network Services, and the moves that both ask for.

import type { ConnectionDirectory } from '../../actors/connection/connection-directory.ts';
import type { ConnectionTable } from '../../actors/connection/connection-table.ts';
import type { Discovery } from '../../actors/discovery/discovery.ts';
import { Drains } from '../../actors/manager/drains.ts';
import { Moves } from '../../actors/manager/moves.ts';
import { judgeDraining, judgePlaced } from '../../actors/manager/placement.ts';
import type { ManagerRegistry } from '../../actors/manager/registry/manager-registry.ts';
import { ServiceMonitor } from '../../actors/manager/service-monitor.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Platform } from './platform.ts';

export interface MovingOptions {
  readonly forwarderServiceName: string;
  /** How long a client that is asked to move may take before its connection is closed. */
  readonly moveGraceMs?: number;
  /** What drains, over a restart of the manager. */
  readonly drainJournal?: Journal;
}

export interface MovingParts {
  readonly table: ConnectionTable;
  readonly discovery: Discovery;
  readonly directory: () => ConnectionDirectory;
  readonly registry: () => ManagerRegistry;
}

export interface Moving {
  readonly moves: Moves;
  readonly drains: Drains;
  readonly serviceMonitor: ServiceMonitor;
  close(): Promise<void>;
}

const moveGraceMsDefault = 10_000;

export async function composeMoving(
  { clock, random, log }: Platform,
  { forwarderServiceName, moveGraceMs, drainJournal }: MovingOptions,
  { table, discovery, directory, registry }: MovingParts,
): Promise<Moving> {
  const moves = new Moves({
    clock,
    random,
    log,
    table,
    tell: (id, message) => void directory().tell(id, message),
    graceMs: moveGraceMs ?? moveGraceMsDefault,
  });
  const isDraining = (name: string): boolean => {
    const entry = registry().localNamed(name);
    return entry === undefined ? drains.hasName(name) : drains.drains(entry);
  };
  const placement = { clock, discovery, drains: isDraining };
  const drains = new Drains({
    clock,
    table,
    local: () => registry().local(),
    moves,
    judge: judgeDraining(placement),
    forwarderServiceName,
    ...(drainJournal === undefined ? {} : { journal: drainJournal }),
  });
  await drains.load();
  const judge = judgePlaced(placement);
  const serviceMonitor = new ServiceMonitor({
    clock,
    random,
    log,
    discovery,
    table,
    moves,
    judge,
  });
  return {
    moves,
    drains,
    serviceMonitor,
    async close() {
      serviceMonitor.close();
      drains.close();
      moves.close();
      await drainJournal?.close();
    },
  };
}
