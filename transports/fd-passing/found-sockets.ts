// Sockets of Endpoints at whoever calls a registry. A manager names them by `inode://` in its answers to Find, with the
// descriptor beside it: whoever asked gets a URL that can be dialled. An Endpoint registers its own in the same way.

import { closeSync } from 'node:fs';
import type {
  NetworkServiceEndpoint,
  NetworkServiceEndpointRegistry,
  NetworkServiceEndpointResponse,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { ServiceClient, StreamOptions, UnaryOptions } from '../../protocols/ports/rpc.ts';
import type { KeptSockets } from './kept-sockets.ts';
import { isInode } from './kept-sockets.ts';
import { openSocketOf } from './socket-files.ts';

type Registry = ServiceClient<typeof NetworkServiceEndpointRegistry>;

export function socketPassingClient(raw: Registry, sockets: KeptSockets): Registry {
  return {
    register: (endpoint, options) =>
      withOwnSocket(endpoint, options, async (named, passing) => {
        const answer = await raw.register(named, passing);
        return answer.url === named.url ? { ...answer, url: endpoint.url } : answer;
      }),
    unregister: (endpoint, options) =>
      withOwnSocket(endpoint, options, (named, passing) => raw.unregister(named, passing)),
    async *find(query, options) {
      let descriptors: PeerDescriptors | undefined;
      const onPeer: StreamOptions['onPeer'] = (peer) => {
        ({ descriptors } = peer);
        options?.onPeer?.(peer);
      };
      for await (const response of raw.find(query, { ...options, onPeer })) {
        yield withSocket(response, sockets, descriptors);
      }
    },
  };
}

function withSocket(
  response: NetworkServiceEndpointResponse,
  sockets: KeptSockets,
  descriptors: PeerDescriptors | undefined,
): NetworkServiceEndpointResponse {
  const { networkServiceEndpoint: entry, deleted } = response;
  if (entry === undefined) return response;
  if (deleted) sockets.forget(entry.name);
  if (deleted || !isInode(entry)) return response;
  const socket = sockets.receive(entry.url, descriptors);
  // Whoever dials it says that it cannot.
  if (socket === undefined) return response;
  sockets.keep(entry, socket);
  return { ...response, networkServiceEndpoint: { ...entry, url: socket.dialled } };
}

async function withOwnSocket<Answer>(
  endpoint: NetworkServiceEndpoint,
  options: UnaryOptions,
  call: (endpoint: NetworkServiceEndpoint, options: UnaryOptions) => Promise<Answer>,
): Promise<Answer> {
  const socket = options.passesSocket === true ? openSocketOf(endpoint.url) : undefined;
  if (socket === undefined) return call(endpoint, options);
  try {
    const named = { ...endpoint, url: socket.inodeUrl };
    return await call(named, { ...options, descriptors: [socket.descriptor] });
  } finally {
    closeSync(socket.descriptor);
  }
}
