// Arbitrary OpenFlow messages of every kind, for property and fuzz tests.

import fc from 'fast-check';
import type { Action, Instruction } from '../../../protocols/ovs/actions.ts';
import type {
  FlowFilter,
  FlowMod,
  FlowRemoved,
  FlowStatistics,
} from '../../../protocols/ovs/flow.ts';
import type { MultipartReply, MultipartRequest } from '../../../protocols/ovs/multipart.ts';
import {
  bundleControl,
  flowModCommand,
  flowRemovedReasons,
  portReasons,
} from '../../../protocols/ovs/openflow-constants.ts';
import type {
  BundleControlKind,
  MessageBody,
  OpenFlowMessage,
} from '../../../protocols/ovs/openflow-messages.ts';
import type { OxmEntry } from '../../../protocols/ovs/oxm.ts';
import { fieldWidths } from '../../../protocols/ovs/oxm.ts';
import type { FlowCommand } from '../../../protocols/ovs/flow.ts';

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const text = (length: number) => fc.stringMatching(new RegExp(`^[ -~]{0,${length - 1}}$`));

const oxmEntries = Object.entries(fieldWidths).flatMap(([field, width]) => {
  const value =
    width === 8
      ? u64
      : width > 4
        ? bytes(width)
        : fc.integer({ min: 0, max: 2 ** (8 * width) - 1 });
  const plain = fc.record({ field: fc.constant(field), value });
  return [plain, fc.record({ field: fc.constant(field), value, mask: value })];
}) as fc.Arbitrary<OxmEntry>[];

const unknownOxm: fc.Arbitrary<OxmEntry> = fc.record({
  field: fc.constant('unknown' as const),
  // Neither the basic nor Nicira's class, so that no number is one of a known field.
  oxmClass: fc.constantFrom(0x8001, 0xffff, 0x0003),
  number: fc.integer({ min: 0, max: 127 }),
  hasMask: fc.boolean(),
  payload: fc.uint8Array({ maxLength: 255 }),
});

const oxm = fc.oneof(...oxmEntries, unknownOxm);
const match = fc.array(oxm, { maxLength: 6 });

/** Bodies of a length that makes the whole a multiple of 8 with the header of 4. */
const opaqueBody = fc.constantFrom(4, 12, 20).chain(bytes);

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant('output' as const), port: u32, maxLength: u16 }),
  fc.record({ kind: fc.constant('group' as const), group: u32 }),
  fc.record({ kind: fc.constant('setQueue' as const), queue: u32 }),
  fc.record({ kind: fc.constant('pushVlan' as const), ethType: u16 }),
  fc.constantFrom<Action>({ kind: 'popVlan' }, { kind: 'decrementTtl' }),
  fc.record({ kind: fc.constant('setField' as const), field: oxm }),
  fc.record({ kind: fc.constant('unknown' as const), type: fc.constant(0xffff), body: opaqueBody }),
);

const instruction: fc.Arbitrary<Instruction> = fc.oneof(
  fc.record({ kind: fc.constant('gotoTable' as const), table: u8 }),
  fc.record({ kind: fc.constant('writeMetadata' as const), metadata: u64, mask: u64 }),
  fc.record({
    kind: fc.constantFrom('writeActions' as const, 'applyActions' as const),
    actions: fc.array(action, { maxLength: 5 }),
  }),
  fc.constant<Instruction>({ kind: 'clearActions' }),
  fc.record({ kind: fc.constant('meter' as const), meter: u32 }),
  fc.record({ kind: fc.constant('unknown' as const), type: fc.constant(0xffff), body: opaqueBody }),
);

const instructions = fc.array(instruction, { maxLength: 4 });
const durationMs = fc.integer({ min: 0, max: 0xffffffff });

const flowMod: fc.Arbitrary<FlowMod> = fc.record({
  command: fc.constantFrom(...(Object.keys(flowModCommand) as FlowCommand[])),
  cookie: u64,
  cookieMask: u64,
  table: u8,
  priority: u16,
  idleTimeoutSeconds: u16,
  hardTimeoutSeconds: u16,
  bufferId: u32,
  outPort: u32,
  outGroup: u32,
  flags: u16,
  match,
  instructions,
});

const flowRemoved: fc.Arbitrary<FlowRemoved> = fc.record({
  cookie: u64,
  priority: u16,
  reason: fc.constantFrom(...flowRemovedReasons),
  table: u8,
  durationMs,
  idleTimeoutSeconds: u16,
  hardTimeoutSeconds: u16,
  packets: u64,
  bytes: u64,
  match,
});

const flowStatistics: fc.Arbitrary<FlowStatistics> = fc.record({
  table: u8,
  durationMs,
  priority: u16,
  idleTimeoutSeconds: u16,
  hardTimeoutSeconds: u16,
  flags: u16,
  cookie: u64,
  packets: u64,
  bytes: u64,
  match,
  instructions,
});

const filter: fc.Arbitrary<FlowFilter> = fc.record({
  table: u8,
  outPort: u32,
  outGroup: u32,
  cookie: u64,
  cookieMask: u64,
  match,
});

const port = fc.record({
  number: u32,
  macAddress: bytes(6),
  name: text(16),
  config: u32,
  state: u32,
});

const portStatistics = fc.record({
  number: u32,
  rxPackets: u64,
  txPackets: u64,
  rxBytes: u64,
  txBytes: u64,
  rxDropped: u64,
  txDropped: u64,
  rxErrors: u64,
  txErrors: u64,
});

const unknownMultipart = fc.record({
  of: fc.constant('unknown' as const),
  type: fc.constantFrom(3, 12, 0xffff),
  body: fc.uint8Array({ maxLength: 64 }),
});

const multipartRequest: fc.Arbitrary<MultipartRequest> = fc.oneof(
  fc.record({ of: fc.constantFrom('description' as const, 'portDescription' as const) }),
  fc.record({ of: fc.constantFrom('flow' as const, 'aggregate' as const), filter }),
  fc.record({ of: fc.constant('portStatistics' as const), port: u32 }),
  unknownMultipart,
);

const multipartReply: fc.Arbitrary<MultipartReply> = fc.oneof(
  fc.record({
    of: fc.constant('description' as const),
    description: fc.record({
      manufacturer: text(256),
      hardware: text(256),
      software: text(256),
      serialNumber: text(32),
      datapath: text(256),
    }),
  }),
  fc.record({
    of: fc.constant('flow' as const),
    flows: fc.array(flowStatistics, { maxLength: 4 }),
  }),
  fc.record({
    of: fc.constant('aggregate' as const),
    sums: fc.record({ packets: u64, bytes: u64, flows: u32 }),
  }),
  fc.record({
    of: fc.constant('portStatistics' as const),
    statistics: fc.array(portStatistics, { maxLength: 4 }),
  }),
  fc.record({
    of: fc.constant('portDescription' as const),
    ports: fc.array(port, { maxLength: 4 }),
  }),
  unknownMultipart,
);

const data = fc.uint8Array({ maxLength: 64 });
const masks = fc.tuple(u32, u32);

/** One arbitrary per kind of message. */
export const bodies: Readonly<Record<MessageBody['kind'], fc.Arbitrary<MessageBody>>> = {
  hello: fc.record({
    kind: fc.constant('hello' as const),
    versions: fc
      .uniqueArray(fc.integer({ min: 0, max: 31 }), { maxLength: 6 })
      .map((versions) => versions.sort((a, b) => a - b)),
  }),
  error: fc.record({
    kind: fc.constant('error' as const),
    error: fc.oneof(
      fc.record({
        type: fc.integer({ min: 0, max: 0xfffe }),
        code: u16,
        experimenter: fc.constant(0),
      }),
      fc.record({ type: fc.constant(0xffff), code: u16, experimenter: u32 }),
    ),
    data,
  }),
  echoRequest: fc.record({ kind: fc.constant('echoRequest' as const), data }),
  echoReply: fc.record({ kind: fc.constant('echoReply' as const), data }),
  featuresRequest: fc.constant({ kind: 'featuresRequest' }),
  barrierRequest: fc.constant({ kind: 'barrierRequest' }),
  barrierReply: fc.constant({ kind: 'barrierReply' }),
  featuresReply: fc.record({
    kind: fc.constant('featuresReply' as const),
    features: fc.record({
      datapathId: u64,
      buffers: u32,
      tables: u8,
      auxiliaryId: u8,
      capabilities: u32,
    }),
  }),
  setConfig: fc.record({
    kind: fc.constant('setConfig' as const),
    flags: u16,
    missSendLength: u16,
  }),
  setAsync: fc.record({
    kind: fc.constant('setAsync' as const),
    masks: fc.record({ packetIn: masks, portStatus: masks, flowRemoved: masks }),
  }),
  flowMod: fc.record({ kind: fc.constant('flowMod' as const), mod: flowMod }),
  flowRemoved: fc.record({ kind: fc.constant('flowRemoved' as const), removed: flowRemoved }),
  portStatus: fc.record({
    kind: fc.constant('portStatus' as const),
    reason: fc.constantFrom(...portReasons),
    port,
  }),
  multipartRequest: fc.record({
    kind: fc.constant('multipartRequest' as const),
    request: multipartRequest,
  }),
  multipartReply: fc.record({
    kind: fc.constant('multipartReply' as const),
    reply: multipartReply,
    more: fc.boolean(),
  }),
  bundleControl: fc.record({
    kind: fc.constant('bundleControl' as const),
    bundleId: u32,
    control: fc.constantFrom(...(Object.keys(bundleControl) as BundleControlKind[])),
    flags: u16,
  }),
  bundleAdd: fc.record({
    kind: fc.constant('bundleAdd' as const),
    bundleId: u32,
    flags: u16,
    mod: flowMod,
  }),
  unknown: fc.record({
    kind: fc.constant('unknown' as const),
    type: fc.constantFrom(7, 10, 13, 24, 200),
    body: data,
  }),
};

export const withXid = (body: fc.Arbitrary<MessageBody>): fc.Arbitrary<OpenFlowMessage> =>
  fc.tuple(body, u32).map(([content, xid]) => ({ ...content, xid }));

export const anyMessage: fc.Arbitrary<OpenFlowMessage> = withXid(
  fc.oneof(...Object.values(bodies)),
);
