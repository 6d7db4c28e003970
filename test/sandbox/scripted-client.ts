// A client that moves when it is asked to, and does nothing else: it follows its connection at its manager and answers
// RESELECT_REQUESTED with a reselect, keeping what it has until it has the answer.

import { create } from '@bufbuild/protobuf';
import {
  type Connection,
  MonitorConnection,
  MonitorScopeSelectorSchema,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { MeshCalls } from './mesh-calls.ts';

export interface ScriptedClient {
  readonly current: Connection;
  /** Names of the Endpoints that it had, oldest first. */
  readonly endpoints: readonly string[];
  /** Times that it was asked to move. */
  readonly asked: number;
  /** Last state that it heard of. */
  readonly state: State;
  close(): Promise<void>;
}

export interface ScriptedOptions {
  readonly managerUrl: string;
  readonly id: string;
  readonly change?: Partial<Connection>;
  /** Hears what it is asked, and stays. */
  readonly isDeaf?: boolean;
}

export async function startScriptedClient(
  mesh: MeshCalls,
  { managerUrl, id, change = {}, isDeaf = false }: ScriptedOptions,
): Promise<ScriptedClient> {
  const first = mesh.firstRequest(id, change);
  let current = await mesh.run(mesh.request(managerUrl, first));
  const endpoints = [current.networkServiceEndpointName];
  const stop = new AbortController();
  let asked = 0;
  let state: State = State.UP;
  const reselect = async (): Promise<void> => {
    const { mechanism: _, ...rest } = current;
    const known = { ...rest, networkServiceEndpointName: '', state: State.RESELECT_REQUESTED };
    const request = mesh.refreshOf(known);
    request.mechanismPreferences = first.mechanismPreferences;
    current = await mesh.request(managerUrl, request);
    endpoints.push(current.networkServiceEndpointName);
  };
  const follow = async (): Promise<void> => {
    const selector = create(MonitorScopeSelectorSchema, { pathSegments: [{ id }] });
    const monitor = mesh.dialer.dial(managerUrl).client(MonitorConnection);
    for await (const event of monitor.monitorConnections(selector, { signal: stop.signal })) {
      for (const entry of Object.values(event.connections)) {
        const isNews = entry.state === State.RESELECT_REQUESTED && state !== entry.state;
        state = entry.state;
        if (!isNews) continue;
        asked += 1;
        if (!isDeaf) await reselect().catch(() => {});
      }
    }
  };
  const following = follow().catch(() => {});
  return {
    get current() {
      return current;
    },
    endpoints,
    get asked() {
      return asked;
    },
    get state() {
      return state;
    },
    async close() {
      stop.abort();
      await mesh.run(following);
      await mesh.run(mesh.close(managerUrl, current));
    },
  };
}
