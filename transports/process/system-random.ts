// The real source of randomness of a process: the operating system's generator.

import { randomInt, randomUUID } from 'node:crypto';
import type { Random } from '../../protocols/ports/random.ts';

export const systemRandom: Random = {
  uuid: () => randomUUID(),
  integer: (exclusiveMax) => randomInt(exclusiveMax),
};
