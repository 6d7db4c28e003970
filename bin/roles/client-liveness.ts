// What a client is to probe, from its configuration: pings without an end or in the reference's rounds, and connects
// to the service behind the wire.

import { createEchoJudge } from '../../actors/client/echo-judge.ts';
import { createEchoLiveness } from '../../actors/client/echo-liveness.ts';
import { createEchoRounds } from '../../actors/client/echo-rounds.ts';
import { joinLiveness } from '../../actors/client/joined-liveness.ts';
import { createServiceLiveness } from '../../actors/client/service-liveness.ts';
import type { Liveness } from '../../protocols/ports/liveness.ts';
import { echoLines } from '../../transports/icmp/echo-line.ts';
import { contactTcp } from '../../transports/tcp-probe/tcp-probe.ts';
import type { NscConfig } from '../config/roles/nsc.ts';
import type { Platform } from './platform.ts';

type LivenessConfig = Pick<
  NscConfig,
  | 'livenessCheckEnabled'
  | 'livenessCheckIntervalMs'
  | 'livenessCheckTimeoutMs'
  | 'livenessIntervalMs'
  | 'livenessMissedMax'
  | 'serviceProbePort'
  | 'serviceProbeIntervalMs'
>;

/** Connects that fail in a row before a service counts as dead. */
const failedConnectsMax = 3;

/** For a fresh verdict before a repair: pings are sent closely then. */
const confirmMsMax = 500;

/** Rounds of the reference that a new wire has for its first answer: a lost neighbour solicitation costs a second. */
const firstAnswerRounds = 3;

export function livenessOf(
  config: LivenessConfig,
  platform: Platform,
  namespace?: string,
): { readonly liveness?: Liveness } {
  const parts: Liveness[] = [];
  if (config.livenessCheckEnabled) parts.push(echoesOf(config, platform, namespace));
  if (config.serviceProbePort > 0) {
    parts.push(
      createServiceLiveness({
        clock: platform.clock,
        contact: contactTcp,
        port: config.serviceProbePort,
        intervalMs: config.serviceProbeIntervalMs,
        timeoutMs: config.serviceProbeIntervalMs,
        failedMax: failedConnectsMax,
      }),
    );
  }
  return parts.length === 0 ? {} : { liveness: joinLiveness(parts) };
}

/** `namespace`: `file://` URL of where the wires end, if not where the process is. */
function echoesOf(
  config: LivenessConfig,
  { clock, log }: Platform,
  namespace: string | undefined,
): Liveness {
  const { livenessIntervalMs, livenessMissedMax, livenessCheckTimeoutMs } = config;
  const continuous = {
    intervalMs: livenessIntervalMs,
    missedMax: livenessMissedMax,
    firstAnswerMs: livenessCheckTimeoutMs * firstAnswerRounds,
  };
  const rounds = { intervalMs: config.livenessCheckIntervalMs, timeoutMs: livenessCheckTimeoutMs };
  return createEchoLiveness({
    clock,
    confirmMsMax: livenessIntervalMs > 0 ? confirmMsMax : livenessCheckTimeoutMs + confirmMsMax,
    open: echoLines({ log, ...(namespace === undefined ? {} : { namespace }) }),
    judge: (startMs) =>
      livenessIntervalMs > 0
        ? createEchoJudge(continuous, startMs)
        : createEchoRounds(rounds, startMs),
  });
}
