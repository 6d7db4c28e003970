// The label by which an Endpoint says that it drains: under every service that it offers, so that whoever selects for
// one of them sees it. Who selects gives it to no new client; who has it keeps it until it has moved.

import type { NetworkServiceEndpoint } from './gen/registry_pb.ts';

const drainingLabel = 'vwire.io/draining';

export function isDraining({ networkServiceLabels }: NetworkServiceEndpoint): boolean {
  return Object.values(networkServiceLabels).some(({ labels }) => labels[drainingLabel] === 'true');
}
