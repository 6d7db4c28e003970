// What a switch refuses, in words: error types and codes of OpenFlow 1.3.5 section 7.4.4 and of ONF extension 230,
// and the project's error made of one. Open vSwitch 3.1 answers bundle errors as ONF experimenter errors 2300 to 2315.

import type { ErrorCode } from '../errors.ts';
import { NsmError } from '../errors.ts';
import { experimenterErrorType, onfExperimenter } from './openflow-constants.ts';

interface ErrorTypeRow {
  readonly name: string;
  readonly codes: readonly string[];
}

/** enum ofp_error_type; the codes by number. */
const errorTypes: readonly ErrorTypeRow[] = [
  { name: 'HELLO_FAILED', codes: ['INCOMPATIBLE', 'EPERM'] },
  {
    name: 'BAD_REQUEST',
    codes: [
      'BAD_VERSION',
      'BAD_TYPE',
      'BAD_MULTIPART',
      'BAD_EXPERIMENTER',
      'BAD_EXP_TYPE',
      'EPERM',
      'BAD_LEN',
      'BUFFER_EMPTY',
      'BUFFER_UNKNOWN',
      'BAD_TABLE_ID',
      'IS_SLAVE',
      'BAD_PORT',
      'BAD_PACKET',
      'MULTIPART_BUFFER_OVERFLOW',
    ],
  },
  {
    name: 'BAD_ACTION',
    codes: [
      'BAD_TYPE',
      'BAD_LEN',
      'BAD_EXPERIMENTER',
      'BAD_EXP_TYPE',
      'BAD_OUT_PORT',
      'BAD_ARGUMENT',
      'EPERM',
      'TOO_MANY',
      'BAD_QUEUE',
      'BAD_OUT_GROUP',
      'MATCH_INCONSISTENT',
      'UNSUPPORTED_ORDER',
      'BAD_TAG',
      'BAD_SET_TYPE',
      'BAD_SET_LEN',
      'BAD_SET_ARGUMENT',
    ],
  },
  {
    name: 'BAD_INSTRUCTION',
    codes: [
      'UNKNOWN_INST',
      'UNSUP_INST',
      'BAD_TABLE_ID',
      'UNSUP_METADATA',
      'UNSUP_METADATA_MASK',
      'BAD_EXPERIMENTER',
      'BAD_EXP_TYPE',
      'BAD_LEN',
      'EPERM',
      'DUP_INST',
    ],
  },
  {
    name: 'BAD_MATCH',
    codes: [
      'BAD_TYPE',
      'BAD_LEN',
      'BAD_TAG',
      'BAD_DL_ADDR_MASK',
      'BAD_NW_ADDR_MASK',
      'BAD_WILDCARDS',
      'BAD_FIELD',
      'BAD_VALUE',
      'BAD_MASK',
      'BAD_PREREQ',
      'DUP_FIELD',
      'EPERM',
    ],
  },
  {
    name: 'FLOW_MOD_FAILED',
    codes: [
      'UNKNOWN',
      'TABLE_FULL',
      'BAD_TABLE_ID',
      'OVERLAP',
      'EPERM',
      'BAD_TIMEOUT',
      'BAD_COMMAND',
      'BAD_FLAGS',
    ],
  },
  { name: 'GROUP_MOD_FAILED', codes: [] },
  { name: 'PORT_MOD_FAILED', codes: ['BAD_PORT', 'BAD_HW_ADDR', 'BAD_CONFIG', 'BAD_ADVERTISE'] },
  { name: 'TABLE_MOD_FAILED', codes: ['BAD_TABLE', 'BAD_CONFIG', 'EPERM'] },
  { name: 'QUEUE_OP_FAILED', codes: ['BAD_PORT', 'BAD_QUEUE', 'EPERM'] },
  { name: 'SWITCH_CONFIG_FAILED', codes: ['BAD_FLAGS', 'BAD_LEN', 'EPERM'] },
  { name: 'ROLE_REQUEST_FAILED', codes: ['STALE', 'UNSUP', 'BAD_ROLE'] },
  { name: 'METER_MOD_FAILED', codes: [] },
  { name: 'TABLE_FEATURES_FAILED', codes: [] },
];

/** Experimenter error types of extension 230, from 2300 on. */
const bundleErrorsStart = 2300;
const bundleErrors = [
  'UNKNOWN',
  'EPERM',
  'BAD_ID',
  'BUNDLE_EXIST',
  'BUNDLE_CLOSED',
  'OUT_OF_BUNDLES',
  'BAD_TYPE',
  'BAD_FLAGS',
  'MSG_BAD_LEN',
  'MSG_BAD_XID',
  'MSG_UNSUP',
  'MSG_CONFLICT',
  'MSG_TOO_MANY',
  'MSG_FAILED',
  'TIMEOUT',
  'BUNDLE_IN_PROGRESS',
];

export interface SwitchError {
  readonly type: number;
  /** For an experimenter error its experimenter type. */
  readonly code: number;
  /** 0 for errors of OpenFlow itself. */
  readonly experimenter: number;
}

/** `BAD_ACTION/BAD_OUT_PORT`; numbers where a type or code has no name here. */
export function switchErrorName({ type, code, experimenter }: SwitchError): string {
  if (type === experimenterErrorType) {
    const bundle =
      experimenter === onfExperimenter ? bundleErrors[code - bundleErrorsStart] : undefined;
    return bundle === undefined
      ? `EXPERIMENTER ${experimenter.toString(16)}/${code}`
      : `BUNDLE_FAILED/${bundle}`;
  }
  const row = errorTypes[type];
  return row === undefined ? `type ${type}/code ${code}` : `${row.name}/${row.codes[code] ?? code}`;
}

const codeByName: Readonly<Record<string, ErrorCode>> = {
  'FLOW_MOD_FAILED/TABLE_FULL': 'RESOURCE_EXHAUSTED',
  'FLOW_MOD_FAILED/OVERLAP': 'ALREADY_EXISTS',
  'FLOW_MOD_FAILED/EPERM': 'PERMISSION_DENIED',
  'BAD_REQUEST/EPERM': 'PERMISSION_DENIED',
  'BAD_REQUEST/BAD_TYPE': 'UNIMPLEMENTED',
  'BAD_REQUEST/BAD_EXPERIMENTER': 'UNIMPLEMENTED',
  'BAD_REQUEST/BAD_EXP_TYPE': 'UNIMPLEMENTED',
  'BAD_REQUEST/BAD_MULTIPART': 'UNIMPLEMENTED',
  'BAD_REQUEST/MULTIPART_BUFFER_OVERFLOW': 'RESOURCE_EXHAUSTED',
  'HELLO_FAILED/INCOMPATIBLE': 'UNIMPLEMENTED',
  'BUNDLE_FAILED/OUT_OF_BUNDLES': 'RESOURCE_EXHAUSTED',
  'BUNDLE_FAILED/MSG_TOO_MANY': 'RESOURCE_EXHAUSTED',
  'BUNDLE_FAILED/TIMEOUT': 'ABORTED',
  'BUNDLE_FAILED/MSG_FAILED': 'INVALID_ARGUMENT',
};

/** The refusal of the request that `what` describes, as in `add flow cookie 0x2a priority 100 (message 3 of 4)`. */
export function switchRefusal(error: SwitchError, what: string): NsmError {
  const name = switchErrorName(error);
  return new NsmError(codeByName[name] ?? 'INVALID_ARGUMENT', 'the switch refused a request', {
    rule: name,
    expected: 'a request that the switch accepts',
    found: what,
  });
}
