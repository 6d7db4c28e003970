// A Workload API whose every answer a test writes itself, byte for byte, to see what a client makes of it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';

export type RawStream = ServerWritableStream<Buffer, Uint8Array>;

export interface ScriptedApi {
  readonly endpoint: string;
  /** Streams in the order in which they were opened, open or not. */
  readonly opened: readonly RawStream[];
  /** Called for each new stream. */
  onStream: (stream: RawStream, count: number) => void;
  close(): void;
}

export async function scriptedWorkloadApi(method = 'FetchX509SVID'): Promise<ScriptedApi> {
  const folder = mkdtempSync(join(tmpdir(), 'vwire-spiffe-'));
  const path = join(folder, 'api.sock');
  const server = new Server();
  const opened: RawStream[] = [];
  const api: ScriptedApi = {
    endpoint: `unix://${path}`,
    opened,
    onStream: () => {},
    close: () => {
      server.forceShutdown();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const bytes = (value: Uint8Array): Buffer => Buffer.from(value);
  server.register<Buffer, Uint8Array>(
    `/SpiffeWorkloadAPI/${method}`,
    ((call: RawStream) => {
      opened.push(call);
      api.onStream(call, opened.length);
    }) as never,
    bytes,
    bytes,
    'serverStream',
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return api;
}

/** Ends a stream with a status that is not OK. */
export function endWith(stream: RawStream, code: number, details = 'as the test says'): void {
  stream.emit('error', { code, details });
}
