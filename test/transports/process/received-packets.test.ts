// Protects how an Endpoint reads what its interfaces have received: the packets of the very interface, whatever stands
// beside it in the kernel's table.

import { expect, it } from 'vitest';
import {
  receivedPackets,
  receivedPacketsIn,
} from '../../../transports/process/received-packets.ts';

const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   11111      11    0    0    0     0          0         0    11111      11    0    0    0     0       0          0
 nsm-1:   22222      22    0    0    0     0          0         0      330      33    0    0    0     0       0          0
nsm-10:   44444 18446744073709551615    0    0    0     0          0         0      550      55    0    0    0     0       0          0
`;

it.each([
  ['lo', 11n],
  ['nsm-1', 22n],
  ['nsm-10', 18_446_744_073_709_551_615n],
  ['nsm', undefined],
  ['face', undefined],
] as const)('%s', (name, packets) => {
  expect(receivedPacketsIn(table, name)).toBe(packets);
});

it('reads the table of this machine', async () => {
  expect(await receivedPackets('lo')).toBeTypeOf('bigint');
  expect(await receivedPackets('no-such-one')).toBeUndefined();
});
