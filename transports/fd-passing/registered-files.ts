// Endpoints that register with `inode://` instead of a path, as those of the reference do on a unix socket. Behind this
// door such an Endpoint has a URL that can be dialled; it finds its own again in the answer.

import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { NetworkServiceEndpointRegistry } from '../../protocols/nsm/gen/registry_pb.ts';
import { NsmError } from '../../protocols/errors.ts';
import type { CallContext, ServedService, ServiceHandler } from '../../protocols/ports/rpc.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import type { KeptSocketsSetup } from './kept-sockets.ts';
import { isInode, KeptSockets } from './kept-sockets.ts';

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
    const release = sockets.receive(url, call.peer.descriptors);
    if (release === undefined) throw notThere(url);
    try {
      const answer = await handler.register({ ...endpoint, url: sockets.dialled(url) }, call);
      sockets.keep(answer, url, release);
      return { ...answer, url };
    } catch (error) {
      release();
      throw error;
    }
  };

  return serve(NetworkServiceEndpointRegistry, {
    register: (endpoint, call) =>
      isInode(endpoint) ? register(endpoint, call) : handler.register(endpoint, call),
    find: (query, call) => handler.find(query, call),
    unregister: async (endpoint, call) => {
      const url = isInode(endpoint) ? sockets.urlOf(endpoint.name) : undefined;
      const known = url === undefined ? endpoint : { ...endpoint, url: sockets.dialled(url) };
      const answer = await handler.unregister(known, call);
      sockets.forget(endpoint.name);
      return answer;
    },
  });
}

function notThere(url: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the socket of the Endpoint did not come with it', {
    rule: 'network_service_endpoint.url',
    expected: 'a descriptor of it on the same unix socket, or a URL that can be dialled from here',
    found: url,
  });
}
