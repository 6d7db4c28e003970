// One process per component: two under one name would both execute every call, so the second one does not start. The
// bus is asked, not a register: whoever serves the name answers.

import { NsmError } from '../../protocols/errors.ts';
import { encodeFrame, frameHeader } from '../../protocols/messages/call-envelope.ts';
import { callToken, componentSubject, parseBusUrl } from '../../protocols/messages/subjects.ts';
import { asLibraryHeaders, encodeHeaderBlock } from './header-block.ts';
import type { NatsBus } from './nats-bus.ts';

/** A predecessor that has just ended may take the server a moment to forget. */
const predecessorMs = 1000;
const probeTimeoutMs = 500;
const probePauseMs = 50;
const noBody = new Uint8Array(0);

/** Resolves once nobody serves the URL. Errors: ALREADY_EXISTS where somebody still does after a second. */
export async function refuseSecond(bus: NatsBus, url: string, instance: string): Promise<void> {
  const { connection, clock } = bus;
  const giveUpAtMs = clock.nowMs() + predecessorMs;
  const line = encodeFrame({ kind: 'beat', count: 0, instance, sentAt: 0 });
  const headers = asLibraryHeaders(encodeHeaderBlock({ [frameHeader]: line }));
  const subject = `${componentSubject(parseBusUrl(url))}.${callToken}.probe`;
  // An answer to a beat of a stream that is not open shows that somebody serves the name; no responders and silence
  // show that nobody does.
  const isServed = (): Promise<boolean> =>
    connection.request(subject, noBody, { timeout: probeTimeoutMs, headers }).then(
      () => true,
      () => false,
    );
  while (await isServed()) {
    if (clock.nowMs() < giveUpAtMs) {
      await new Promise<void>((resolve) => clock.after(probePauseMs, resolve));
      continue;
    }
    throw new NsmError('ALREADY_EXISTS', 'another process serves this component', {
      rule: 'component-name',
      expected: 'one process per component',
      found: url,
      remedy: 'end the other process or give this one another name',
    });
  }
}
