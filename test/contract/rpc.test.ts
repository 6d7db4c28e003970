// Protects the promise that code behind a handler or a client cannot tell which binding carried a call: one suite,
// run over memory, the network of simulated meshes, a real nats-server without and with identities, and gRPC on a
// unix socket and on TCP, without and with mutual TLS.

import {
  grpcTcpBinding,
  grpcUnixBinding,
  memoryBinding,
  mutualTlsTcpBinding,
  mutualTlsUnixBinding,
  natsBinding,
  passingUnixBinding,
  sealedNatsBinding,
  simulatedBinding,
} from './rpc-bindings.ts';
import { rpcContract } from './rpc.ts';

for (const binding of [
  memoryBinding,
  simulatedBinding,
  natsBinding,
  sealedNatsBinding,
  grpcUnixBinding,
  grpcTcpBinding,
  mutualTlsUnixBinding,
  passingUnixBinding,
  mutualTlsTcpBinding,
]) {
  rpcContract(binding);
}
