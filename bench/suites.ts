// The suites by name, in the order in which they run. Each is loaded only in the process that runs it.

import type { RunSuite } from './figure.ts';

export const suites: Readonly<Record<string, () => Promise<RunSuite>>> = {
  runtime: async () => (await import('./runtime/runtime.ts')).run,
  transports: async () => (await import('./transports/transports.ts')).run,
  requests: async () => (await import('./requests/requests.ts')).run,
  'requests-nats': async () => (await import('./requests/requests-nats.ts')).run,
  'requests-grpc': async () => (await import('./requests/requests-grpc.ts')).run,
  manager: async () => (await import('./manager/manager.ts')).run,
  registry: async () => (await import('./registry/registry.ts')).run,
  authorization: async () => (await import('./authorization/authorization.ts')).run,
  kernel: async () => (await import('./kernel/kernel.ts')).run,
  ovs: async () => (await import('./ovs/ovs.ts')).run,
  vpp: async () => (await import('./vpp/vpp.ts')).run,
  throughput: async () => (await import('./throughput/throughput.ts')).run,
};
