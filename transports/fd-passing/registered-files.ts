// Endpoints that register with `inode://` instead of a path, as those of the reference do on a unix socket. Behind this
// door such an Endpoint has a URL that can be dialled; it finds its own again in the answer, and whoever finds it has it
// by a descriptor too.

import { closeSync } from 'node:fs';
import type {
  NetworkServiceEndpoint,
  NetworkServiceEndpointResponse,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { NetworkServiceEndpointRegistry } from '../../protocols/nsm/gen/registry_pb.ts';
import { NsmError } from '../../protocols/errors.ts';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { CallContext, ServedService, ServiceHandler } from '../../protocols/ports/rpc.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import type { KeptSocketsSetup } from './kept-sockets.ts';
import { isInode, KeptSockets } from './kept-sockets.ts';
import { openSocketOf } from './socket-files.ts';

type Registry = ServiceHandler<typeof NetworkServiceEndpointRegistry>;

export function withRegisteredSockets(
  services: readonly ServedService[],
  setup: KeptSocketsSetup,
): readonly ServedService[] {
  return services.map((service) =>
    service.descriptor === NetworkServiceEndpointRegistry
      ? registeringService(service.handler as unknown as Registry, setup)
      : service,
  );
}

function registeringService(handler: Registry, setup: KeptSocketsSetup): ServedService {
  /** By the name that the Endpoint goes by from its first answer on. */
  const sockets = new KeptSockets(setup);

  const register = async (
    endpoint: NetworkServiceEndpoint,
    call: CallContext,
  ): Promise<NetworkServiceEndpoint> => {
    const { url } = endpoint;
    const socket = sockets.receive(url, call.peer.descriptors);
    if (socket === undefined) throw notThere(url);
    try {
      const answer = await handler.register({ ...endpoint, url: socket.dialled }, call);
      sockets.keep(answer, socket);
      return { ...answer, url };
    } catch (error) {
      socket.release();
      throw error;
    }
  };

  return serve(NetworkServiceEndpointRegistry, {
    register: (endpoint, call) =>
      isInode(endpoint) ? register(endpoint, call) : handler.register(endpoint, call),
    find: (query, call) => {
      const { descriptors } = call.peer;
      const found = handler.find(query, call);
      return descriptors === undefined ? found : withSockets(found, descriptors);
    },
    unregister: async (endpoint, call) => {
      const socket = isInode(endpoint) ? sockets.of(endpoint.name) : undefined;
      const known = socket === undefined ? endpoint : { ...endpoint, url: socket.dialled };
      const answer = await handler.unregister(known, call);
      sockets.forget(endpoint.name);
      return answer;
    },
  });
}

/** Each Endpoint with a socket here is named by it, which goes ahead: whoever asks may not have its path. */
async function* withSockets(
  found: AsyncIterable<NetworkServiceEndpointResponse>,
  descriptors: PeerDescriptors,
): AsyncGenerator<NetworkServiceEndpointResponse> {
  for await (const response of found) {
    const { networkServiceEndpoint: entry, deleted } = response;
    const url = entry === undefined || deleted ? undefined : sentSocket(entry.url, descriptors);
    yield entry === undefined || url === undefined
      ? response
      : { ...response, networkServiceEndpoint: { ...entry, url } };
  }
}

/** The inode URL of the socket that goes ahead; undefined where none does. */
function sentSocket(url: string, descriptors: PeerDescriptors): string | undefined {
  const socket = openSocketOf(url);
  if (socket === undefined) return undefined;
  try {
    descriptors.send(socket.descriptor);
    return socket.inodeUrl;
  } catch {
    // The connection has ended, or more wait than it may carry: the path has to do.
    return undefined;
  } finally {
    closeSync(socket.descriptor);
  }
}

function notThere(url: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the socket of the Endpoint did not come with it', {
    rule: 'network_service_endpoint.url',
    expected: 'a descriptor of it on the same unix socket, or a URL that can be dialled from here',
    found: url,
  });
}
