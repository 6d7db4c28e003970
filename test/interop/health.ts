// The standard health service (grpc.health.v1) as a caller sees it, described here since nothing of vwire calls it.

import { create, createFileRegistry } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import type { Channel } from '../../protocols/ports/rpc.ts';

const packageName = 'grpc.health.v1';
const serving = 1;

const field = (name: string, type: FieldDescriptorProto_Type) => ({
  name,
  number: 1,
  type,
  label: FieldDescriptorProto_Label.OPTIONAL,
});

const file = create(FileDescriptorProtoSchema, {
  name: 'health.proto',
  package: packageName,
  syntax: 'proto3',
  messageType: [
    { name: 'HealthCheckRequest', field: [field('service', FieldDescriptorProto_Type.STRING)] },
    { name: 'HealthCheckResponse', field: [field('status', FieldDescriptorProto_Type.INT32)] },
  ],
  service: [
    {
      name: 'Health',
      method: [
        {
          name: 'Check',
          inputType: `.${packageName}.HealthCheckRequest`,
          outputType: `.${packageName}.HealthCheckResponse`,
        },
      ],
    },
  ],
});

const health = createFileRegistry(file, () => undefined).getService(`${packageName}.Health`);

/** Whether the listener as a whole says that it serves. */
export async function isHealthy(channel: Channel, timeoutMs: number): Promise<boolean> {
  if (health === undefined) throw new Error('the health service is not described');
  const { check } = channel.client(health) as unknown as Health;
  const asked = { $typeName: `${packageName}.HealthCheckRequest`, service: '' };
  return (await check(asked, { timeoutMs })).status === serving;
}

interface Health {
  readonly check: (
    asked: unknown,
    options: { readonly timeoutMs: number },
  ) => Promise<{ readonly status: number }>;
}
