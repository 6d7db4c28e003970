// The process of an Endpoint that a supplier starts: this program's icmp-responder unless the template says otherwise,
// with the variables that an Endpoint of this node and installation needs. Invariant: it gets no capability, and of the
// supplier's own variables only those named here.

import type { EndpointPlan } from '../../protocols/nsm/endpoint-template.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { SupplierConfig } from '../config/roles/supplier.ts';
import { inheritedEnvironment, ownCommand } from './launch.ts';
import { withLeastPrivilege } from './privileges.ts';

export interface SuppliedProcess {
  readonly config: Pick<SupplierConfig, 'connectTo'>;
  readonly plan: EndpointPlan;
  readonly connection: Connection;
  /** Of this Endpoint alone. */
  readonly directory: string;
}

/** Of vwire itself and of the node; an Endpoint of the reference ignores them. */
const passedOn =
  /^VWIRE_(DOMAIN|INSTALLATION|NODE|NATS_URL|BUS|INSECURE)$|^(NODE_NAME|CLUSTER_NAME|NSM_LOG_LEVEL|SPIFFE_ENDPOINT_SOCKET)$/;

export function suppliedProcess({ config, plan, connection, directory }: SuppliedProcess) {
  const own = Object.entries(process.env).filter(([name]) => passedOn.test(name));
  const [program, ...args] = plan.command ?? [];
  return {
    command: withLeastPrivilege(
      'nse',
      program === undefined ? ownCommand(['nse', 'icmp-responder']) : [program, ...args],
    ),
    environment: {
      ...inheritedEnvironment(),
      ...Object.fromEntries(own),
      NSM_NAME: plan.name,
      NSM_CONNECT_TO: config.connectTo,
      NSM_BASE_DIR: directory,
      NSM_SERVICE_NAMES: connection.networkService,
      // The service is there, or nobody would have asked; registered again, it would lose its matches.
      NSM_REGISTER_SERVICE: 'false',
      NSM_UNREGISTER_ITSELF: 'true',
      VWIRE_STATE_DIR: directory,
      ...plan.environment,
    },
  };
}
