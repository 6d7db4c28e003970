// How a component calls its next hops and hears of them: the same for every role that has any.

import type { JudgeAnswer } from '../../actors/authorization/answer-judge.ts';
import { heldBehind } from '../../actors/connection/held-behind.ts';
import type { NextHop } from '../../actors/connection/hop.ts';
import type { Look } from '../../actors/connection/keeping.ts';
import { createNextHop } from '../../actors/connection/next-hop.ts';
import {
  createNextHopMonitors,
  type NextHopMonitors,
} from '../../actors/connection/next-hop-monitors.ts';
import { createOperations } from '../../actors/connection/operations.ts';
import type { Platform } from './platform.ts';

export function nextHopsOf(
  platform: Platform,
  name: string,
  judge?: JudgeAnswer,
): {
  readonly nextHop: NextHop;
  readonly nextHopMonitors: NextHopMonitors;
  readonly behind: Look;
} {
  const { dialer, clock, wallClock, log, random } = platform;
  const nextOperation = createOperations(platform);
  const nextHop = createNextHop({
    name,
    dialer,
    clock,
    wallClock,
    log,
    random,
    nextOperation,
    ...(judge && { judge }),
  });
  const monitors = createNextHopMonitors({ name, dialer, clock, random, log });
  const close = (): void => {
    monitors.close();
    nextHop.stopLeaving();
  };
  const behind = heldBehind({ name, dialer, clock });
  return { nextHop, nextHopMonitors: { ...monitors, close }, behind };
}
