// The control plane killed, stopped and restarted, part by part and all at once: not one packet may be lost.

import type { ChaosCase } from '../case.ts';
import type { Part } from '../parts.ts';
import { sleep } from '../round.ts';
import type { Scene } from '../scene.ts';
import { localAndRemote } from './wires.ts';

const windowMs = 4_000;
const quickWindowMs = 1_500;
/** The others are killed one by one by test/e2e/restarts.test.ts. */
const quick: readonly string[] = ['all'];
const stoppedMs = 3_000;
const bound = { lost: 0 };

type Choice = (scene: Scene) => Promise<readonly Part[]> | readonly Part[];

const ofKind =
  (kind: Part['kind']): Choice =>
  (scene) =>
    scene.stage.parts.filter((part) => part.kind === kind);

const leader: Choice = async ({ stage }) => {
  const name = `bus-${(await stage.bus.leader()) + 1}`;
  return stage.parts.filter((part) => part.name === name);
};

const everything: Choice = ({ stage }) => stage.parts;

const targets: readonly (readonly [string, string, Choice, 1 | 3])[] = [
  ['manager', 'managers of both nodes', ofKind('nsmgr'), 1],
  ['forwarder', 'forwarders of both nodes', ofKind('forwarder'), 1],
  ['registry', 'registry', ofKind('registry'), 1],
  ['bus', 'nats-server, single', ofKind('bus'), 1],
  ['bus-leader', 'nats-server, leader of three', leader, 3],
  ['identity', 'identity source (`vwire identity`)', ofKind('identity'), 1],
  ['all', 'all of them at once', everything, 1],
];

export const controlPlaneCases: readonly ChaosCase[] = targets.flatMap(
  ([name, title, choose, busServers]) => [
    {
      name: `kill-${name}`,
      title: `${title}: kill -9, started again`,
      stage: { busServers },
      windowMs,
      ...(quick.includes(name) ? { quickWindowMs } : {}),
      bound,
      setUp: localAndRemote,
      async fault(scene) {
        await Promise.all((await choose(scene)).map((part) => part.kill()));
        return undefined;
      },
    },
    {
      name: `stop-${name}`,
      title: `${title}: SIGSTOP for ${stoppedMs / 1_000} s, SIGCONT`,
      stage: { busServers },
      windowMs: windowMs + stoppedMs,
      bound,
      setUp: localAndRemote,
      async fault(scene) {
        const parts = await choose(scene);
        for (const part of parts) part.signal('SIGSTOP');
        await sleep(stoppedMs);
        for (const part of parts) part.signal('SIGCONT');
        return undefined;
      },
    },
  ],
);

export const rollingRestart: ChaosCase = {
  name: 'rolling-restart',
  title: 'rolling restart of every component, one after the other',
  stage: { busServers: 3 },
  windowMs: 45_000,
  bound,
  setUp: localAndRemote,
  async fault(scene) {
    for (const part of scene.stage.parts) {
      await part.restart();
      await scene.contented(30_000);
    }
    for (const endpoint of scene.endpoints) {
      await endpoint.kill();
      await endpoint.start();
    }
    for (const wire of scene.wires) await wire.killClient();
    return undefined;
  },
};
