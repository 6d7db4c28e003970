// Protects the actor contract for references inside one system.

import { expect } from 'vitest';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { DeadLetter } from '../../actors/runtime/api.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { actorRuntimeContract } from './actor-runtime.ts';

actorRuntimeContract('one system', async () => {
  const farLetters: DeadLetter[] = [];
  const system = createActorSystem({
    name: 'node/one',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    onDeadLetter: (letter) => farLetters.push(letter),
  });
  return {
    near: system,
    far: system,
    farLetters,
    see: (ref) => ref,
    end: async () => {
      await system.stop(5_000);
      expect(system.actorCount).toBe(0);
    },
  };
});
