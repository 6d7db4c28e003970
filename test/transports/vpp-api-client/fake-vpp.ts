// A VPP for tests of the client: speaks the socket's protocol with the definitions that it is given, and answers requests
// as a script says. What it sends may be wrong on purpose: other checksums, other messages, bytes of no sense.
// Invariant: nothing is left open after `close`.

import type { Socket } from 'node:net';
import { parseApiJson } from '../../../protocols/vpp/parse-api.ts';
import type { ApiCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { createFrameSplitter, encodeFrame } from '../../../protocols/vpp/frames.ts';
import { answerContextOf, messageIdOf } from '../../../protocols/vpp/message-codec.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
import type { UnixPeer } from '../../sandbox/unix-peer.ts';
import { startUnixPeer } from '../../sandbox/unix-peer.ts';
import type { ModuleJson } from '../../protocols/vpp/api-notation.ts';

export interface Request {
  readonly name: string;
  readonly fields: VppFields;
  readonly clientIndex: number;
  /** Sends a message with the context of the request, or no more than its first bytes. */
  readonly answer: (name: string, fields?: VppFields, bytesMax?: number) => void;
}

export interface FakeVppOptions {
  /** What `get_api_json` answers, and what it speaks. */
  readonly modules: readonly ModuleJson[];
  /** Its table of messages in place of the one that follows from the modules. */
  readonly keys?: (keys: readonly string[]) => readonly string[];
  /** In place of an ordinary reply; false where it leaves the request to that. */
  readonly respond?: (request: Request) => boolean | void;
}

export interface FakeVpp {
  readonly peer: UnixPeer;
  /** Names of requests, in order, across connections. */
  readonly received: string[];
  readonly requests: Request[];
  pid: number;
  /** To the newest connection. */
  emit(name: string, fields: VppFields): void;
  write(bytes: Uint8Array): void;
  /** Ends the newest connection, as a killed VPP does. */
  hangUp(): void;
  close(): Promise<void>;
}

type Send = (name: string, context: number, fields: VppFields, bytesMax?: number) => void;

const firstId = 100;
const clientIndex = 0x8000_0001;

export async function startFakeVpp(options: FakeVppOptions): Promise<FakeVpp> {
  const json = JSON.stringify(options.modules);
  const catalog = createCatalog(parseApiJson(json, 'fake VPP'));
  let socket: Socket | undefined;
  const peer = await startUnixPeer((connection) => {
    socket = connection;
    // Every connection has other ids, as every start of VPP may.
    const table = messageTable(catalog, firstId + 1000 * peer.accepted, options.keys);
    const splitter = createFrameSplitter();
    let isGreeted = false;
    const send: Send = (name, context, fields, bytesMax = Infinity) => {
      const id = name === 'sockclnt_create_reply' ? 16 : (table.idByName.get(name) ?? 0xfffe);
      const header = { clientIndex, context };
      const message = catalog.codec(name).encode(id, header, fields);
      connection.write(encodeFrame(message.slice(0, bytesMax)));
    };
    fake.emit = (name, fields) => send(name, 0, fields);
    connection.on('data', (chunk) => {
      for (const message of splitter.push(chunk)) {
        if (isGreeted) {
          const request = readRequest(catalog, table, message, send);
          if (request === undefined) continue;
          fake.received.push(request.name);
          fake.requests.push(request);
          if (options.respond?.(request) !== true) reply(request, json, fake.pid);
        } else {
          isGreeted = true;
          const names = [...table.nameById].map(([index]) => ({
            index,
            name: table.keyById.get(index),
          }));
          const fields = { index: clientIndex, message_table: names } as unknown as VppFields;
          send('sockclnt_create_reply', answerContextOf(message) ?? 0, fields);
        }
      }
    });
  });
  const fake: FakeVpp = {
    peer,
    received: [],
    requests: [],
    pid: 1000,
    emit: () => {},
    write: (bytes) => void socket?.write(bytes),
    hangUp: () => void socket?.destroy(),
    close: () => peer.close(),
  };
  return fake;
}

interface Table {
  readonly nameById: ReadonlyMap<number, string>;
  readonly idByName: ReadonlyMap<string, number>;
  readonly keyById: ReadonlyMap<number, string>;
}

function messageTable(catalog: ApiCatalog, first: number, change: FakeVppOptions['keys']): Table {
  const ordinary = catalog.names.map((name) => catalog.codec(name).key);
  const keys = change?.(ordinary) ?? ordinary;
  const nameOf = (key: string): string => key.slice(0, key.lastIndexOf('_'));
  return {
    nameById: new Map(keys.map((key, index) => [first + index, nameOf(key)])),
    idByName: new Map(keys.map((key, index) => [nameOf(key), first + index])),
    keyById: new Map(keys.map((key, index) => [first + index, key])),
  };
}

function readRequest(
  catalog: ApiCatalog,
  { nameById }: Table,
  message: Uint8Array,
  send: Send,
): Request | undefined {
  const name = nameById.get(messageIdOf(message) ?? -1);
  if (name === undefined) return undefined;
  const { header, fields } = catalog.codec(name).decode(message);
  return {
    name,
    fields,
    clientIndex: header.clientIndex ?? 0,
    answer: (answer, given = {}, bytesMax) => send(answer, header.context ?? 0, given, bytesMax),
  };
}

/** The ordinary reply with zeros; of a dump nothing. */
function reply({ name, answer }: Request, json: string, pid: number): void {
  if (name === 'get_api_json') answer('get_api_json_reply', { json });
  else if (name === 'control_ping') answer('control_ping_reply', { vpe_pid: pid });
  else if (!name.endsWith('_dump') && name !== 'silent') answer(`${name}_reply`);
}
