// What may be said to a registry domain. Answers of Find are lists of the entries themselves: a message is never
// changed by anybody, so nothing is copied.

import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { ReplyTo } from '../runtime/api.ts';
import type { WatchQueue } from '../../protocols/registry/watch-queue.ts';

export type RegistryCommand =
  | {
      readonly type: 'registerService';
      readonly service: NetworkService;
      readonly replyTo: ReplyTo<NetworkService>;
    }
  | {
      readonly type: 'findServices';
      readonly query: NetworkService;
      readonly replyTo: ReplyTo<readonly NetworkService[]>;
    }
  | {
      readonly type: 'watchServices';
      readonly query: NetworkService;
      /** Filled by the domain, in this process, until `endServiceWatch`. */
      readonly queue: WatchQueue<NetworkService>;
      readonly replyTo: ReplyTo<void>;
    }
  | { readonly type: 'endServiceWatch'; readonly queue: WatchQueue<NetworkService> }
  | {
      readonly type: 'unregisterService';
      readonly name: string;
      readonly replyTo: ReplyTo<void>;
    }
  | {
      readonly type: 'registerEndpoint';
      readonly endpoint: NetworkServiceEndpoint;
      /** When the caller's token ends, in ms since 1970; Infinity where it sent none. */
      readonly callerExpiresEpochMs: number;
      readonly replyTo: ReplyTo<NetworkServiceEndpoint>;
    }
  | {
      readonly type: 'findEndpoints';
      readonly query: NetworkServiceEndpoint;
      readonly replyTo: ReplyTo<readonly NetworkServiceEndpoint[]>;
    }
  | {
      readonly type: 'watchEndpoints';
      readonly query: NetworkServiceEndpoint;
      readonly queue: WatchQueue<NetworkServiceEndpoint>;
      readonly replyTo: ReplyTo<void>;
    }
  | { readonly type: 'endEndpointWatch'; readonly queue: WatchQueue<NetworkServiceEndpoint> }
  | {
      readonly type: 'unregisterEndpoint';
      readonly name: string;
      readonly replyTo: ReplyTo<void>;
    };
