// Protects the client against VPPs that are not on this machine: a conversation recorded from each is replayed, in which
// the client must say the same bytes and understand the same answers. With VWIRE_VPP and VWIRE_VPP_RECORD it is recorded
// anew, into the folder `recorded`.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { createFrameSplitter, encodeFrame } from '../../../protocols/vpp/frames.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { forwarderApi } from '../../protocols/vpp/known-apis.ts';
import { startUnixPeer } from '../../sandbox/unix-peer.ts';
import { startVpp, whyNoVpp } from '../../sandbox/vpp.ts';
import type { Frame, Recording } from './exchanges.ts';
import { converse, recordingHost } from './exchanges.ts';

const folder = join(import.meta.dirname, 'recorded');
const files = existsSync(folder) ? readdirSync(folder) : [];
const api = createCatalog(forwarderApi);
const isRecording = process.env['VWIRE_VPP_RECORD'] !== undefined && whyNoVpp() === undefined;

if (files.length === 0) console.warn('skipped, no conversation was recorded yet');

describe.each(files)('%s', (file) => {
  const recording = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Recording;

  test(`the client says and understands what it did with VPP ${recording.version}`, async () => {
    const rest = [...recording.frames];
    const peer = await startUnixPeer((socket) => {
      const splitter = createFrameSplitter();
      socket.on('data', (chunk) => {
        for (const message of splitter.push(chunk)) {
          const said = { by: 'client', message: Buffer.from(message).toString('hex') };
          expect(said).toEqual(rest.shift());
          for (let next = rest[0]; next?.by === 'vpp'; next = rest[0]) {
            rest.shift();
            socket.write(encodeFrame(Buffer.from(next.message, 'hex')));
          }
        }
      });
    });
    const client = createVppClient({ socketPath: peer.path, host: unixHost, api });
    try {
      expect(await converse(client)).toEqual(recording.results);
    } finally {
      await client.close();
      await peer.close();
    }
  });
});

test.skipIf(!isRecording)('a conversation is recorded', async () => {
  const vpp = await startVpp();
  const frames: Frame[] = [];
  const asking = createVppClient({ socketPath: vpp.apiSocket, host: unixHost });
  const host = recordingHost(unixHost, api, frames);
  const client = createVppClient({ socketPath: vpp.apiSocket, host, api });
  try {
    const { version } = await asking.read('show_version', {}, { timeoutMs: 20_000 });
    const results = await converse(client);
    // Its goodbye is part of the conversation.
    await client.close();
    const recording: Recording = { version, frames, results };
    mkdirSync(folder, { recursive: true });
    const name = `vpp-${version.replace(/[^\w.-].*/, '')}.json`;
    writeFileSync(join(folder, name), `${JSON.stringify(recording, null, 2)}\n`);
  } finally {
    await client.close();
    await asking.close();
    await vpp.close();
  }
});
