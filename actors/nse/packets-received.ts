// What an Endpoint sees of a wire's life: its own end of it, and the packets that come in there. The end goes with the
// wire, whoever takes that down. What the Endpoint sends does not count: that says nothing of the client.

import { describeError } from '../../protocols/errors.ts';
import { mechanismType, parameter, parameterKey } from '../../protocols/nsm/mechanism.ts';
import type { ReceivedPackets } from '../../protocols/ports/received-packets.ts';
import type { Look } from '../connection/keeping.ts';

/** `netns`: URL of the namespace that the wires end in, which is the process's own. */
export function packetsReceived(received: ReceivedPackets, netns: string): Look {
  return async ({ connection: { mechanism } }) => {
    if (mechanism?.type === mechanismType.memif) {
      return { kind: 'unknown', why: 'its memif is driven by somebody else' };
    }
    const name = mechanism && parameter(mechanism, parameterKey.name);
    const isHere = mechanism && parameter(mechanism, parameterKey.inodeUrl) === netns;
    if (name === undefined || isHere !== true) {
      return { kind: 'gone', why: 'its wire ended in another namespace' };
    }
    try {
      const packets = await received(name);
      return packets === undefined
        ? { kind: 'gone', why: `its interface ${name} is gone` }
        : { kind: 'there', packets };
    } catch (error) {
      return { kind: 'unknown', why: `its interface cannot be looked at: ${describeError(error)}` };
    }
  };
}
