// Protects that a socket which carries descriptors is still a stream, has each descriptor no later than its bytes, and
// that no peer can make this process keep or lose one.

import { closeSync, fstatSync, openSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createFdPassing } from '../../../transports/fd-passing/fd-passing.ts';
import type { PassingSocket } from '../../../transports/fd-passing/passing-socket.ts';
import type { DescriptorBounds } from '../../../transports/fd-passing/socket-descriptors.ts';
import { inodeUrlOf } from '../../../transports/fd-passing/socket-descriptors.ts';
import { sendByteWith } from '../../../transports/fd-passing/socket-messages.ts';
import { openNamespace } from '../../../transports/netlink/namespace-url.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { openDescriptors, useDescriptorBench } from './descriptor-bench.ts';

const clock = systemClock;
const log = silentLog;
const bench = useDescriptorBench();

describe('a socket', () => {
  interface Ends {
    readonly sender: Socket;
    readonly receiver: PassingSocket;
    /** All that was read so far. */
    readonly text: () => string;
  }

  async function ends(bounds: Partial<DescriptorBounds> = {}, isKnown = true): Promise<Ends> {
    const path = join(bench.folder, 's.sock');
    const passing = createFdPassing({ clock, log, ...bounds });
    const server: Server = createServer({ pauseOnConnect: true });
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    bench.cleanUps.push(() => server.close());
    const sender = connect(path);
    sender.on('error', () => {});
    await new Promise<void>((resolve) => sender.once('connect', resolve));
    const receiver = passing.wrap(await accepted);
    if (receiver === undefined) throw new Error('this Node has no pipe handle as expected');
    receiver.on('error', () => {});
    if (isKnown) receiver.admit();
    bench.cleanUps.push(() => sender.destroy());
    bench.cleanUps.push(() => receiver.destroy());
    let text = '';
    receiver.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
    });
    return { sender, receiver, text: () => text };
  }

  const handleOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle;

  function openFile(path = '/dev/null') {
    const descriptor = openSync(path, 'r');
    bench.cleanUps.push(() => closeSync(descriptor));
    return { descriptor, url: inodeUrlOf(descriptor) };
  }

  async function sendRaw({ sender }: Ends, text: string, descriptor: number) {
    await eventually('room to send', 5_000, () => {
      expect(sendByteWith(handleOf(sender).fd, text.charCodeAt(0), descriptor)).toBe(true);
    });
  }

  it('keeps the stream whole, whatever comes with it', async () => {
    const pair = await ends();
    const wanted = openFile();
    const rest = 'x'.repeat(300_000);
    pair.sender.write('first ');
    await eventually('the first bytes', 5_000, () => expect(pair.text()).toBe('first '));
    await sendRaw(pair, '!', wanted.descriptor);
    pair.sender.write(rest);
    await eventually('the rest', 5_000, () => expect(pair.text()).toBe(`first !${rest}`));
    const got = pair.receiver.descriptors.take(wanted.url) ?? -1;
    expect(inodeUrlOf(got)).toBe(wanted.url);
    expect(got).not.toBe(wanted.descriptor);
    closeSync(got);
    expect(pair.receiver.descriptors.take(wanted.url)).toBeUndefined();
  });

  it('sends each descriptor ahead of the bytes that follow, as a copy', async () => {
    const { receiver, sender } = await ends();
    const passing = createFdPassing({ clock, log }).wrap(sender);
    if (passing === undefined) throw new Error('not wrapped');
    bench.cleanUps.push(() => passing.destroy());
    let seen = '';
    passing.on('data', (bytes: Buffer) => {
      seen += bytes.toString('latin1');
    });
    const files = [openFile('/dev/null'), openFile('/dev/zero'), openFile('/proc/self/ns/net')];
    for (const { descriptor } of files) receiver.descriptors.send(descriptor);
    receiver.write('answer');
    await eventually('the answer', 5_000, () => expect(seen).toBe('answer'));
    for (const { url } of files) {
      const got = passing.descriptors.take(url) ?? -1;
      expect(inodeUrlOf(got)).toBe(url);
      closeSync(got);
    }
  });

  it('has a descriptor no later than the byte that it came with', async () => {
    const pair = await ends();
    const file = openFile();
    const seen: boolean[] = [];
    pair.receiver.on('data', () => {
      const got = pair.receiver.descriptors.take(file.url);
      seen.push(got !== undefined);
      if (got !== undefined) closeSync(got);
    });
    for (const each of 'abc') await sendRaw(pair, each, file.descriptor);
    await eventually('all bytes', 5_000, () => expect(pair.text()).toBe('abc'));
    expect(seen).toEqual([true, true, true]);
  });

  it('closes what nobody takes: beyond the bound at once, the rest after a while', async () => {
    const pair = await ends({ waitingMax: 3, unclaimedMs: 50 });
    const file = openFile();
    const openNow = openDescriptors();
    for (let sent = 0; sent < 20; sent += 1) await sendRaw(pair, 'x', file.descriptor);
    await eventually('all bytes', 5_000, () => expect(pair.text()).toBe('x'.repeat(20)));
    expect(openDescriptors()).toBeLessThanOrEqual(openNow + 3);
    await eventually('none left', 5_000, () => expect(openDescriptors()).toBe(openNow));
    expect(pair.receiver.descriptors.take(file.url)).toBeUndefined();
  });

  it('takes next to nothing from a peer that nobody knows yet', async () => {
    const pair = await ends({ strangerMax: 0 }, false);
    const file = openFile();
    const openNow = openDescriptors();
    await sendRaw(pair, 'x', file.descriptor);
    await eventually('the byte', 5_000, () => expect(pair.text()).toBe('x'));
    expect(openDescriptors()).toBe(openNow);
    pair.receiver.admit();
    await sendRaw(pair, 'y', file.descriptor);
    await eventually('both bytes', 5_000, () => expect(pair.text()).toBe('xy'));
    expect(openDescriptors()).toBe(openNow + 1);
  });

  it('takes sockets, pipes and folders for what they are', async () => {
    const pair = await ends();
    const folderFile = openFile(bench.folder);
    const kinds = [folderFile.descriptor, handleOf(pair.sender).fd];
    for (const each of kinds) await sendRaw(pair, 'x', each);
    await eventually('all bytes', 5_000, () => expect(pair.text()).toBe('xx'));
    const got = pair.receiver.descriptors.take(folderFile.url) ?? -1;
    expect(() => openNamespace(folderFile.url)).toThrow('is not there');
    expect(fstatSync(got).isDirectory()).toBe(true);
    closeSync(got);
  });

  it('lets go of everything when the peer dies', async () => {
    const pair = await ends();
    const { descriptors } = pair.receiver;
    await sendRaw(pair, 'x', openFile().descriptor);
    await eventually('the byte', 5_000, () => expect(pair.text()).toBe('x'));
    pair.sender.destroy();
    await eventually('its end', 5_000, () => {
      expect(() => descriptors.send(0)).toThrow('has ended');
    });
  });

  it('refuses to queue more than it may send', async () => {
    const { receiver } = await ends({ waitingMax: 2 });
    const { descriptor } = openFile();
    receiver.descriptors.send(descriptor);
    receiver.descriptors.send(descriptor);
    expect(() => receiver.descriptors.send(descriptor)).toThrow('too many descriptors');
  });
});
