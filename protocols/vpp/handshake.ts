// How a connection begins: the client says its name under a fixed message id, VPP answers with the index that the client
// goes by and with its table of messages, whose ids are chosen anew each time VPP starts.

import { NsmError } from '../errors.ts';
import { builtinApi } from './builtin-api.ts';
import { messageIdOf } from './message-codec.ts';

/** VL_API_SOCKCLNT_CREATE of VPP's own enumeration: the one id that is fixed. Its answer has the next. */
const createId = 15;
const createReplyId = 16;
const clientNameBytesMax = 63;

export interface Handshake {
  /** What the client puts into its requests. */
  readonly clientIndex: number;
  /** Ids by `name_crc`. */
  readonly ids: ReadonlyMap<string, number>;
  /** `name_crc` by id. */
  readonly keys: ReadonlyMap<number, string>;
}

/** `clientName` is shown by VPP; it is cut to 63 bytes. */
export function encodeHandshake(clientName: string): Uint8Array {
  const name = clientName.slice(0, clientNameBytesMax);
  return builtinApi.codec('sockclnt_create').encode(createId, {}, { name });
}

/** Errors: INVALID_ARGUMENT for anything else, PERMISSION_DENIED where VPP refuses. */
export function decodeHandshake(bytes: Uint8Array): Handshake {
  const id = messageIdOf(bytes);
  if (id !== createReplyId) {
    throw new NsmError('INVALID_ARGUMENT', 'the handshake with VPP breaks its format', {
      rule: 'handshake',
      expected: `message ${createReplyId}, sockclnt_create_reply`,
      found: `message ${id}`,
      remedy: 'check that the socket is that of the API of VPP',
    });
  }
  const { fields } = builtinApi.codec('sockclnt_create_reply').decode(bytes);
  const response = Number(fields['response']);
  if (response < 0) {
    throw new NsmError('PERMISSION_DENIED', 'VPP refused the connection', {
      rule: 'handshake',
      found: `response ${response}`,
    });
  }
  const table = fields['message_table'] as readonly { index: number; name: string }[];
  return {
    clientIndex: Number(fields['index']),
    ids: new Map(table.map(({ index, name }) => [name, index])),
    keys: new Map(table.map(({ index, name }) => [index, name])),
  };
}
