// grpc.health.v1.Health as the reference serves it: the empty name and every served service are SERVING from the
// start and stay so; a watch stays open. The two messages have one field each, so they are read and written here.

import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import type { sendUnaryData, Server, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { asBuffer } from './grpc-bytes.ts';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { toStatus } from './grpc-metadata.ts';
import type { GrpcHost, GrpcPeerCalls, GrpcServedCall } from './grpc-served-calls.ts';
import { admittedCaller } from './grpc-served-calls.ts';

/** HealthCheckResponse.ServingStatus of grpc/health/v1/health.proto. */
const serving = 1;
const serviceUnknown = 3;

export const healthMethods = [
  { path: '/grpc.health.v1.Health/Check', name: 'Check' },
  { path: '/grpc.health.v1.Health/Watch', name: 'Watch' },
] as const;

export function registerHealth(
  server: Server,
  host: GrpcHost,
  services: ReadonlySet<string>,
): void {
  const isServed = (service: string): boolean => service === '' || services.has(service);
  const [check, watching] = healthMethods;
  server.register<HealthQuery, number>(
    check.path,
    (call: ServerUnaryCall<HealthQuery, number>, callback: sendUnaryData<number>) => {
      if (isServed(call.request.service)) callback(null, serving);
      else callback(toStatus(unknownService(call.request.service)));
    },
    encodeStatus,
    decodeQuery,
    'unary',
  );
  server.register<HealthQuery, number>(
    watching.path,
    (call: ServerWritableStream<HealthQuery, number>) => {
      let caller: GrpcPeerCalls;
      try {
        caller = admittedCaller(host, call, watching.name);
      } catch (error) {
        call.emit('error', toStatus(asNsmError(error)));
        return;
      }
      const end = (): void => {
        host.inFlight.end(watch);
        caller.calls.delete(watch);
      };
      const watch: GrpcServedCall = {
        abort: (reason) => {
          call.emit('error', toStatus(reason));
          end();
        },
      };
      host.inFlight.begin(watch, true);
      caller.calls.add(watch);
      call.on('cancelled', end);
      call.write(isServed(call.request.service) ? serving : serviceUnknown);
    },
    encodeStatus,
    decodeQuery,
    'serverStream',
  );
}

function encodeStatus(status: number): Buffer {
  return asBuffer(
    new BinaryWriter()
      .uint32((1 << 3) | 0)
      .int32(status)
      .finish(),
  );
}

/** An object, since grpc-js takes a falsy request (the empty name) for none. */
interface HealthQuery {
  readonly service: string;
}

/** HealthCheckRequest: field 1 is the service's name. */
function decodeQuery(bytes: Buffer): HealthQuery {
  const reader = new BinaryReader(bytes);
  let service = '';
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === 2) service = reader.string();
    else reader.skip(wireType, field);
  }
  return { service };
}

function unknownService(service: string): NsmError {
  return new NsmError('NOT_FOUND', 'the service is not served here', {
    rule: 'health',
    found: JSON.stringify(service.slice(0, 200)),
  });
}
