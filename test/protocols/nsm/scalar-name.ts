// The names that .proto files use for the scalar types of descriptors.

import { ScalarType } from '@bufbuild/protobuf';

const names: Readonly<Partial<Record<ScalarType, string>>> = {
  [ScalarType.STRING]: 'string',
  [ScalarType.BOOL]: 'bool',
  [ScalarType.INT32]: 'int32',
  [ScalarType.UINT32]: 'uint32',
  [ScalarType.INT64]: 'int64',
  [ScalarType.UINT64]: 'uint64',
  [ScalarType.BYTES]: 'bytes',
};

export function scalarName(scalar: ScalarType): string {
  return names[scalar] ?? `scalar ${scalar}`;
}
