// Protects what a refusal of VPP becomes: its own name for the code, and a code of ours that callers decide by.

import { expect, test } from 'vitest';
import { returnCodeName, vppRefusal } from '../../../protocols/vpp/return-codes.ts';

test.each([
  [-1, 'UNSPECIFIED (-1)', 'UNKNOWN'],
  [-2, 'INVALID_SW_IF_INDEX (-2)', 'NOT_FOUND'],
  [-3, 'NO_SUCH_FIB (-3)', 'NOT_FOUND'],
  [-6, 'NO_SUCH_ENTRY (-6)', 'NOT_FOUND'],
  [-7, 'INVALID_VALUE (-7)', 'INVALID_ARGUMENT'],
  [-9, 'UNIMPLEMENTED (-9)', 'UNIMPLEMENTED'],
  [-11, 'SYSCALL_ERROR_1 (-11)', 'FAILED_PRECONDITION'],
  [-20, 'SYSCALL_ERROR_10 (-20)', 'FAILED_PRECONDITION'],
  [-31, 'INVALID_REGISTRATION (-31)', 'INVALID_ARGUMENT'],
  [-50, 'NEXT_HOP_NOT_IN_FIB (-50)', 'NOT_FOUND'],
  [-75, 'TUNNEL_EXIST (-75)', 'ALREADY_EXISTS'],
  [-79, 'IF_ALREADY_EXISTS (-79)', 'ALREADY_EXISTS'],
  [-81, 'VALUE_EXIST (-81)', 'ALREADY_EXISTS'],
  [-105, 'ADDRESS_IN_USE (-105)', 'ALREADY_EXISTS'],
  [-116, 'ENTRY_ALREADY_EXISTS (-116)', 'ALREADY_EXISTS'],
  [-120, 'BD_IN_USE (-120)', 'FAILED_PRECONDITION'],
  [-123, 'SUBIF_DOESNT_EXIST (-123)', 'NOT_FOUND'],
  [-157, 'FIB_PATH_UNSUPPORTED_NH_PROTO (-157)', 'UNIMPLEMENTED'],
  [-159, 'API_ENDIAN_FAILED (-159)', 'INTERNAL'],
  [-162, 'LIMIT_EXCEEDED (-162)', 'RESOURCE_EXHAUSTED'],
  [-165, 'EAGAIN (-165)', 'ABORTED'],
  [-171, 'INVALID_PREFIX_LENGTH (-171)', 'INVALID_ARGUMENT'],
  [-158, 'return code -158', 'UNKNOWN'],
  [-9999, 'return code -9999', 'UNKNOWN'],
])('%i is %s and becomes %s', (retval, name, code) => {
  expect(returnCodeName(retval)).toBe(name);
  expect(vppRefusal('af_packet_create_v3', retval)).toMatchObject({
    code,
    message: 'VPP refused a request',
    details: { rule: name, found: 'af_packet_create_v3' },
  });
});

test('a system call that failed in VPP says where its errno is', () => {
  expect(vppRefusal('tap_create_v3', -11).details.remedy).toContain('the log of VPP');
  expect(vppRefusal('tap_create_v3', -2).details.remedy).toBeUndefined();
});
