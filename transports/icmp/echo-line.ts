// Echo requests from a network namespace to one address, for a liveness check that goes on without an end: one socket,
// which nothing waits at. NSM concept: data-plane liveness.
// Invariants: what this side cannot send (an interface that is down or gone, a firewall of its own) is told from
// silence; foreign and repeated replies are harmless; nothing throws.

import { randomInt } from 'node:crypto';

import { describeError } from '../../protocols/errors.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import type { EchoLine, OpenEchoLine } from '../../protocols/ports/liveness.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { askNeighbour } from './ask-neighbour.ts';
import { decodeEchoReply, encodeEchoRequest } from './icmp-packet.ts';
import { type IcmpSocket, openIcmpSocket } from './icmp-socket.ts';

export interface EchoLinesOptions {
  readonly log: Log;
  /** `file://` URL of the network namespace; absent: the process's own. */
  readonly namespace?: string;
}

const payloadLength = 8;
/** Replies that are read at a time; what is left is read the next time. */
const repliesMax = 64;
/** The kernel heeds no second answer to ARP within a second (its locktime). */
const askEveryMs = 1_200;
/**
 * EHOSTUNREACH, ECONNREFUSED, EHOSTDOWN: what an earlier echo met on its way or at its end. All else that a send fails
 * with comes from this side.
 */
const fromFarAway: readonly number[] = [113, 111, 112];

export function echoLines({ log, namespace }: EchoLinesOptions): OpenEchoLine {
  let isSaid = false;
  return ({ source, destination }, interfaceName) => {
    try {
      const to = parseIp(destination);
      const socket = openIcmpSocket({
        namespace,
        source: parseIp(source),
        destination: to,
        ...(interfaceName === '' ? {} : { interfaceName }),
      });
      const ask = (): void =>
        askNeighbour({ namespace, interfaceName, source: parseIp(source), destination: to });
      return lineOf(socket, to.bytes.length === 4 ? 4 : 6, ask);
    } catch (error) {
      // Once: without the right to ping it would be said five times a second.
      const details = { error: describeError(error) };
      if (isSaid) log.debug('a wire cannot be probed from here', details);
      else log.warn('a wire cannot be probed from here; its liveness is unknown', details);
      isSaid = true;
      return undefined;
    }
  };
}

/**
 * `ask` is called as long as nothing has been heard: another Endpoint may have the address of the one before with
 * another MAC, and the kernel would believe the old one for up to a minute.
 */
function lineOf(socket: IcmpSocket, version: 4 | 6, ask: () => void): EchoLine {
  const identifier = randomInt(0x1_0000);
  let last = -1;
  let isHeard = false;
  let askAtMs = 0;
  return {
    send(sequence) {
      last = sequence;
      if (!isHeard && performance.now() >= askAtMs) {
        askAtMs = performance.now() + askEveryMs;
        ask();
      }
      const echo = { identifier, sequence: sequence & 0xffff };
      const packet = encodeEchoRequest(version, echo, payloadLength);
      const refusal = socket.send(packet);
      if (refusal === 0) return true;
      // The socket told what had happened to an echo before, and this one has not gone out.
      return fromFarAway.includes(refusal) && [0, ...fromFarAway].includes(socket.send(packet));
    },
    *receive() {
      for (let count = 0; count < repliesMax; count += 1) {
        const packet = socket.receive();
        if (packet === undefined) return;
        const echo = decodeEchoReply(version, packet, socket.isRaw);
        if (echo === undefined || (socket.isRaw && echo.identifier !== identifier)) continue;
        // The sequence on the wire has 16 bits: the latest one with these.
        const sequence = last - ((last - echo.sequence) & 0xffff);
        if (sequence < 0) continue;
        isHeard = true;
        yield sequence;
      }
    },
    close: () => socket.close(),
  };
}
