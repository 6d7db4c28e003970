// A gRPC server with mTLS in a process of its own: verifies each client's chain before a byte of HTTP/2, and answers
// its one method with the SPIFFE ID that it found. Says on standard output where it listens and whom it refused.

import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { createServer } from 'node:tls';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { asNsmError } from '../../../protocols/errors.ts';
import type { VerifiedPeer } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import {
  createIdentitySource,
  presentedChain,
  tlsMaterial,
} from '../../../transports/spiffe-ts/spiffe.ts';

const identity = createIdentitySource({
  endpoint: process.argv[2] ?? '',
  clock: systemClock,
  wallClock: systemWallClock,
  random: systemRandom,
  log: silentLog,
});
const material = () => {
  const snapshot = identity.current();
  if (snapshot === undefined) throw new Error('no identity');
  const { cert, key, ca } = tlsMaterial(snapshot);
  return { cert, key, ca, minVersion: 'TLSv1.2' as const };
};

await identity.ready({ timeoutMs: 20_000 });
const grpc = new Server();
const pass = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
const peers = new Map<string, VerifiedPeer>();
grpc.register<Buffer, Uint8Array>(
  '/test.Whoami/Ask',
  ((call: ServerUnaryCall<Buffer, Uint8Array>, callback: sendUnaryData<Uint8Array>) => {
    const raw = call.getAuthContext().sslPeerCertificate?.raw;
    callback(null, Buffer.from(peers.get(raw?.toString('base64') ?? '')?.spiffeId ?? 'nobody'));
  }) as never,
  pass,
  pass,
  'unary',
);
const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
const listener = createServer({
  ...material(),
  requestCert: true,
  rejectUnauthorized: true,
  ALPNProtocols: ['h2'],
});
listener.on('secureConnection', (socket: TLSSocket) => {
  try {
    const peer = identity.verifyPeer(presentedChain(socket.getPeerCertificate(true)));
    peers.set(Buffer.from(peer.leaf).toString('base64'), peer);
    injector.injectConnection(socket);
  } catch (error) {
    process.stdout.write(`refused ${asNsmError(error).details.rule}\n`);
    socket.destroy();
  }
});
listener.on('tlsClientError', (error: Error) => {
  process.stdout.write(`refused tls ${error.message.split('\n')[0]}\n`);
});
identity.watch((snapshot) => {
  if (snapshot === undefined) return;
  listener.setSecureContext(material());
  process.stdout.write(`rotated ${snapshot.generation}\n`);
});
listener.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening ${(listener.address() as AddressInfo).port}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
