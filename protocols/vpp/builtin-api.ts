// The few messages that must be known before VPP can be asked for its definitions: who one is, is there anybody, what
// do you speak, and goodbye. Fields and checksums as VPP 26.10 has them (src/vlibmemory/memclnt.api); they are the same since 24.06,
// which brought get_api_json.

import type { ApiCatalog } from './api-catalog.ts';
import { createCatalog } from './api-catalog.ts';
import { parseModule } from './parse-api.ts';

const id = ['u16', '_vl_msg_id'];
const clientIndex = ['u32', 'client_index'];
const context = ['u32', 'context'];
const retval = ['i32', 'retval'];

const builtinModule = parseModule(
  {
    types: [['message_table_entry', ['u16', 'index'], ['string', 'name', 64]]],
    messages: [
      ['sockclnt_create', id, context, ['string', 'name', 64], { crc: '0x455fb9c4' }],
      [
        'sockclnt_create_reply',
        id,
        clientIndex,
        context,
        ['i32', 'response'],
        ['u32', 'index'],
        ['u16', 'count'],
        ['vl_api_message_table_entry_t', 'message_table', 0, 'count'],
        { crc: '0x35166268' },
      ],
      ['sockclnt_delete', id, clientIndex, context, ['u32', 'index'], { crc: '0x8ac76db6' }],
      ['sockclnt_delete_reply', id, context, ['i32', 'response'], { crc: '0x8f38b1ee' }],
      ['control_ping', id, clientIndex, context, { crc: '0x51077d14' }],
      [
        'control_ping_reply',
        id,
        context,
        retval,
        ['u32', 'client_index'],
        ['u32', 'vpe_pid'],
        { crc: '0xf6b0b8ca' },
      ],
      ['get_api_json', id, clientIndex, context, { crc: '0x51077d14' }],
      ['get_api_json_reply', id, context, retval, ['string', 'json', 0], { crc: '0xea715b59' }],
    ],
    services: {
      sockclnt_delete: { reply: 'sockclnt_delete_reply' },
      control_ping: { reply: 'control_ping_reply' },
      get_api_json: { reply: 'get_api_json_reply' },
    },
  },
  'the built-in API',
);

export const builtinApi: ApiCatalog = createCatalog([builtinModule]);
