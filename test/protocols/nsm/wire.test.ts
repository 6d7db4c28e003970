// Protects wire compatibility with the reference: the generated descriptors hold exactly the messages, fields, numbers,
// types, enums and methods of its API, and the three field names that are not snake_case keep their spelling.

import {
  create,
  type DescFile,
  fromBinary,
  fromJsonString,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf';
import { scalarName } from './scalar-name.ts';
import { describe, expect, it } from 'vitest';
import { file_connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  ConnectionContextSchema,
  file_connectioncontext,
  RouteSchema,
} from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import { file_ipam } from '../../../protocols/nsm/gen/ipam_pb.ts';
import { file_networkservice } from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { file_registry } from '../../../protocols/nsm/gen/registry_pb.ts';
import { enumTable, messageTable, methodTable } from './wire-tables.ts';

const files: readonly DescFile[] = [
  file_connectioncontext,
  file_connection,
  file_networkservice,
  file_registry,
  file_ipam,
];

type DescMessage = DescFile['messages'][number];
type DescField = DescMessage['fields'][number];

const withNested = (message: DescMessage): readonly DescMessage[] => [
  message,
  ...message.nestedMessages.flatMap(withNested),
];
const messages = files.flatMap(({ messages: top }) => top.flatMap(withNested));
const enums = files.flatMap((file) => [
  ...file.enums,
  ...messages.filter((each) => each.file === file).flatMap((each) => each.nestedEnums),
]);

/** The type as the table writes it: without the package or message that the field stands in. */
function relative(typeName: string, parent: DescMessage): string {
  for (const scope of [parent.typeName, parent.file.proto.package]) {
    if (typeName.startsWith(`${scope}.`)) return typeName.slice(scope.length + 1);
  }
  return typeName;
}

function typeOf(field: DescField): string {
  const named = (desc: { typeName: string }): string => relative(desc.typeName, field.parent);
  switch (field.fieldKind) {
    case 'scalar':
      return scalarName(field.scalar);
    case 'enum':
      return named(field.enum);
    case 'message':
      return named(field.message);
    case 'list':
      return field.listKind === 'scalar'
        ? scalarName(field.scalar)
        : named(field.listKind === 'enum' ? field.enum : field.message);
    case 'map':
      return `map<${scalarName(field.mapKey)},${
        field.mapKind === 'scalar'
          ? scalarName(field.scalar)
          : named(field.mapKind === 'enum' ? field.enum : field.message)
      }>`;
  }
}

const labelOf = (field: DescField): string =>
  field.fieldKind === 'list' ? 'repeated' : field.fieldKind === 'map' ? 'map' : 'singular';

describe('the descriptors', () => {
  it('hold every message and field of the tables, and no other', () => {
    const found = Object.fromEntries(
      messages.map((message) => [
        message.typeName,
        [...message.fields]
          .sort((left, right) => left.number - right.number)
          .map((field) => `${field.number} ${field.name} ${typeOf(field)} ${labelOf(field)}`),
      ]),
    );
    expect(found).toEqual(messageTable);
  });

  it('hold every enum value, and no other', () => {
    const found = enums.map((each) => [
      each.typeName,
      each.values.map(({ name, number }) => `${name}=${number}`),
    ]);
    expect(Object.fromEntries(found)).toEqual(enumTable);
  });

  it('hold every service and method with its streaming', () => {
    const found = files.flatMap(({ services }) =>
      services.flatMap((service) =>
        service.methods.map((method) =>
          [
            service.typeName,
            method.name,
            method.input.typeName,
            method.output.typeName,
            method.methodKind,
          ].join(' '),
        ),
      ),
    );
    expect([...found].sort()).toEqual([...methodTable].sort());
  });

  it('are proto3, without reserved names, oneofs or extensions, in packages named after their files', () => {
    for (const file of files) {
      expect(file.proto.syntax).toBe('proto3');
      expect(file.proto.package).toBe(file.name);
      expect(file.extensions).toEqual([]);
    }
    for (const message of messages) expect(message.oneofs).toEqual([]);
  });
});

describe('nextHop, MTU and fallthrough', () => {
  it('keep their spelling in descriptors, JSON and messages', () => {
    const route = create(RouteSchema, { prefix: '10.0.0.0/8', nextHop: '10.0.0.1' });
    expect(RouteSchema.fields.map(({ name }) => name)).toEqual(['prefix', 'nextHop']);
    expect(toJsonString(RouteSchema, route)).toBe('{"prefix":"10.0.0.0/8","nextHop":"10.0.0.1"}');
    const context = create(ConnectionContextSchema, { MTU: 1446 });
    expect(ConnectionContextSchema.field.MTU.name).toBe('MTU');
    expect(toJsonString(ConnectionContextSchema, context)).toBe('{"MTU":1446}');
    expect(fromJsonString(ConnectionContextSchema, '{"MTU":1446}').MTU).toBe(1446);
    expect(
      fromBinary(ConnectionContextSchema, toBinary(ConnectionContextSchema, context)).MTU,
    ).toBe(1446);
    expect(toBinary(ConnectionContextSchema, context)).toEqual(Uint8Array.of(0x28, 0xa6, 0x0b));
  });
});
