// gRPC as one binding: its dialer and its listener under the same options.

import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import type { GrpcDialerOptions } from './grpc-dialer.ts';
import { createGrpcDialer } from './grpc-dialer.ts';
import type { GrpcListenerOptions } from './grpc-listener.ts';
import { createGrpcListener } from './grpc-listener.ts';

export interface GrpcBinding {
  readonly dialer: Dialer;
  readonly listener: Listener;
}

/** Keepalive differs between the two sides, so it is set on the parts. */
export type GrpcOptions = Omit<GrpcDialerOptions & GrpcListenerOptions, 'keepaliveMs'>;

export function createGrpc(options: GrpcOptions): GrpcBinding {
  return { dialer: createGrpcDialer(options), listener: createGrpcListener(options) };
}
