// Endpoints that a manager of the reference names by `inode://` in its answers to Find, with the descriptor of their
// socket beside it: whoever asked gets a URL that can be dialled.

import type { NetworkServiceEndpointResponse } from '../../protocols/nsm/gen/registry_pb.ts';
import type { NetworkServiceEndpointRegistry } from '../../protocols/nsm/gen/registry_pb.ts';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { ServiceClient, StreamOptions } from '../../protocols/ports/rpc.ts';
import type { KeptSockets } from './kept-sockets.ts';
import { isInode } from './kept-sockets.ts';

type Registry = ServiceClient<typeof NetworkServiceEndpointRegistry>;

export function findingClient(raw: Registry, sockets: KeptSockets): Registry {
  return {
    ...raw,
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
  const { url } = entry;
  const release = sockets.receive(url, descriptors);
  // Whoever dials it says that it cannot.
  if (release === undefined) return response;
  sockets.keep(entry, url, release);
  return { ...response, networkServiceEndpoint: { ...entry, url: sockets.dialled(url) } };
}
