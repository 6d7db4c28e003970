// Protects the client's calls against a VPP that answers as it should and as it should not: replies, refusals, dumps,
// streams, other versions of messages, what cannot be read, and calls that are given up.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Vpp } from '../../../protocols/ports/vpp.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { loadApiFolder } from '../../../transports/vpp-api-client/api-folder.ts';
import type { VppClientOptions } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import type { ModuleJson } from '../../protocols/vpp/api-notation.ts';
import { forwarderModules } from '../../protocols/vpp/forwarder-api.ts';
import { fixtureFolder } from '../../protocols/vpp/known-apis.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { FakeVpp, FakeVppOptions } from './fake-vpp.ts';
import { startFakeVpp } from './fake-vpp.ts';

const budget = { timeoutMs: 5000 };
const constructs = JSON.parse(
  readFileSync(join(fixtureFolder, 'constructs.api.json'), 'utf8'),
) as ModuleJson;
const modules = [...forwarderModules(), constructs];

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

async function start(options: Omit<FakeVppOptions, 'modules'> = {}): Promise<FakeVpp> {
  const fake = await startFakeVpp({ modules, ...options });
  open.push(fake);
  return fake;
}

function connect(
  { peer }: FakeVpp,
  options: Omit<VppClientOptions, 'socketPath' | 'host'> = {},
): Vpp {
  const client = createVppClient({ socketPath: peer.path, host: unixHost, ...options });
  open.push(client);
  return client;
}

const details = (index: number): VppFields => ({
  sw_if_index: index,
  interface_name: `if${index}`,
  tag: 'x',
});

describe('calls', () => {
  test('the definitions are read from VPP, then a request is encoded by them and answered', async () => {
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'create_vlan_subif') return false;
        answer('create_vlan_subif_reply', { sw_if_index: 7 });
        return true;
      },
    });
    const client = connect(fake);
    const reply = await client.request(
      'create_vlan_subif',
      { sw_if_index: 3, vlan_id: 100 },
      budget,
    );
    expect(reply.sw_if_index).toBe(7);
    expect(fake.received).toEqual(['get_api_json', 'control_ping', 'create_vlan_subif']);
    expect(fake.requests.at(-1)).toMatchObject({
      fields: { sw_if_index: 3, vlan_id: 100 },
      clientIndex: 0x8000_0001,
    });
  });

  test('definitions that are given are used, and VPP is not asked', async () => {
    const fake = await startFakeVpp({ modules: [...forwarderModules(), constructs] });
    open.push(fake);
    const client = connect(fake, { api: loadApiFolder(fixtureFolder) });
    await client.request('scalars', { a: 1 }, budget);
    // The ping that ends a dump needs no definition.
    expect(await client.dump('arrays_dump', {}, budget)).toEqual([]);
    expect(fake.received).toEqual(['control_ping', 'scalars', 'arrays_dump', 'control_ping']);
  });

  test('requests go out in the order in which they were made, none waiting for another', async () => {
    const held: (() => void)[] = [];
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'delete_subif') return false;
        held.push(() => answer('delete_subif_reply'));
        return true;
      },
    });
    const client = connect(fake);
    const calls = Array.from({ length: 100 }, (_, index) =>
      client.request('delete_subif', { sw_if_index: index }, budget),
    );
    await eventually('all arrive', 5000, () => expect(held).toHaveLength(100));
    held.reverse().forEach((release) => release());
    await Promise.all(calls);
    const sent = fake.requests.filter(({ name }) => name === 'delete_subif');
    expect(sent.map(({ fields }) => fields['sw_if_index'])).toEqual([...calls.keys()]);
  });

  test('a refusal has the name that VPP has for it', async () => {
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'vxlan_add_del_tunnel_v3') return false;
        answer('vxlan_add_del_tunnel_v3_reply', { retval: -75 });
        return true;
      },
    });
    const address = { af: 0, un: new Uint8Array(16) };
    const tunnel = {
      is_add: true,
      src_address: address,
      dst_address: address,
      src_port: 4789,
      dst_port: 4789,
      decap_next_index: 1,
      vni: 5,
    };
    await expect(
      connect(fake).request('vxlan_add_del_tunnel_v3', tunnel, budget),
    ).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { rule: 'TUNNEL_EXIST (-75)', found: 'vxlan_add_del_tunnel_v3' },
    });
  });

  test('a request that nothing answers is done when it was sent', async () => {
    const fake = await start();
    expect(await connect(fake).request('silent', { dummy: 1 }, budget)).toEqual({});
    await eventually('it arrives', 5000, () => expect(fake.received).toContain('silent'));
  });

  test('fields that do not fit are refused before anything is sent', async () => {
    const fake = await start();
    const client = connect(fake);
    await expect(
      client.request(
        'sw_interface_tag_add_del',
        { is_add: true, sw_if_index: 1, tag: 'x'.repeat(64) },
        budget,
      ),
    ).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: 'sw_interface_tag_add_del.tag', expected: 'at most 63 bytes', found: '64' },
    });
    expect(fake.received).not.toContain('sw_interface_tag_add_del');
  });

  test('a call of the wrong kind is refused with the right one', async () => {
    const client = connect(await start());
    const wrong = { code: 'INVALID_ARGUMENT', details: { found: 'a dump' } };
    await expect(client.request('sw_interface_dump', {}, budget)).rejects.toMatchObject(wrong);
    await expect(client.dump('kinds_get', {}, budget)).rejects.toMatchObject({
      details: { expected: 'a dump', found: 'a stream' },
    });
    await expect(client.stream('scalars', {}, budget)).rejects.toMatchObject({
      details: { expected: 'a stream', found: 'a request' },
    });
    await expect(client.request('scalars_reply', {}, budget)).rejects.toMatchObject({
      details: { found: 'no request' },
    });
  });
});

describe('dumps and streams', () => {
  const dumping =
    (count: number): NonNullable<FakeVppOptions['respond']> =>
    ({ name, answer }) => {
      if (name !== 'sw_interface_dump') return false;
      for (let index = 0; index < count; index += 1) answer('sw_interface_details', details(index));
      return true;
    };

  test('a dump ends with the ping that went out right behind it', async () => {
    const fake = await start({ respond: dumping(3) });
    const found = await connect(fake).dump('sw_interface_dump', {}, budget);
    expect(found.map(({ interface_name: name }) => name)).toEqual(['if0', 'if1', 'if2']);
    expect(fake.received.slice(-2)).toEqual(['sw_interface_dump', 'control_ping']);
  });

  test('dumps side by side keep their details apart', async () => {
    const client = connect(await start({ respond: dumping(2) }));
    const both = await Promise.all([
      client.dump('sw_interface_dump', {}, budget),
      client.dump('af_packet_dump', {}, budget),
      client.dump('sw_interface_dump', {}, budget),
    ]);
    expect(both.map(({ length }) => length)).toEqual([2, 0, 2]);
  });

  test('an answer past the bound fails its call alone', async () => {
    const fake = await start({ respond: dumping(50) });
    const client = connect(fake, { limits: { detailsMax: 49 } });
    await expect(client.dump('sw_interface_dump', {}, budget)).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: { rule: 'details', found: 'more' },
    });
    await client.read('control_ping', {}, budget);
    const tight = connect(fake, { limits: { answerBytesMax: 1000 } });
    await expect(tight.dump('sw_interface_dump', {}, budget)).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
    });
    expect(fake.peer.accepted).toBe(2);
  });

  test('a stream is asked again with the cursor for as long as VPP has more', async () => {
    const fake = await start({
      respond: ({ name, fields, answer }) => {
        if (name !== 'kinds_get') return false;
        const cursor = Number(fields['cursor']);
        answer('kinds_details', { kind: cursor });
        answer('kinds_get_reply', { retval: cursor < 2 ? -165 : 0, cursor: cursor + 1 });
        return true;
      },
    });
    const client = connect(fake);
    const stream = await client.stream('kinds_get', {}, budget);
    expect(stream.details.map(({ kind }) => kind)).toEqual([0, 1, 2]);
    expect(stream.reply).toMatchObject({ retval: 0, cursor: 3 });
    const limited = connect(fake, { limits: { detailsMax: 2 } });
    await expect(limited.stream('kinds_get', {}, budget)).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
    });
  });

  test('a stream of nothing, one that is refused, and one that never ends', async () => {
    let [retval, cursor] = [-7, 0xffff_ffff];
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'kinds_get') return false;
        answer('kinds_get_reply', { retval, cursor });
        return true;
      },
    });
    const client = connect(fake);
    expect((await client.stream('kinds_get', {}, budget)).details).toEqual([]);
    cursor = 1;
    await expect(client.stream('kinds_get', {}, budget)).rejects.toMatchObject({
      details: { rule: 'INVALID_VALUE (-7)' },
    });
    retval = -2;
    await expect(client.stream('kinds_get', {}, budget)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    retval = -165;
    await expect(client.stream('kinds_get', {}, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
  });
});

describe('another VPP than the client knows', () => {
  test('another checksum is named beside ours', async () => {
    const keys = (all: readonly string[]) =>
      all.map((key) => key.replace('sw_interface_dump_aa610c27', 'sw_interface_dump_0badf00d'));
    const fake = await start({ keys });
    const client = connect(fake);
    await expect(client.dump('sw_interface_dump', {}, budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: 'VPP has another version of the message sw_interface_dump',
      details: {
        hop: `VPP at ${fake.peer.path}`,
        expected: 'this client knows sw_interface_dump_aa610c27',
        found: 'VPP has sw_interface_dump_0badf00d',
      },
    });
    await client.dump('af_packet_dump', {}, budget);
  });

  test('a message whose plugin is not loaded, and one that nobody knows', async () => {
    const fake = await start({ keys: (all) => all.filter((key) => !key.startsWith('memif')) });
    const client = connect(fake);
    await expect(client.request('memif_delete', { sw_if_index: 1 }, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: {
        expected: 'this client knows memif_delete_f9e6675e',
        found: 'no message of that name',
        remedy: 'load the plugin that has it',
      },
    });
    await expect(client.request('no_such_request', {}, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { found: 'no_such_request' },
    });
    const unusable = await client.unusable(['memif_delete', 'delete_subif', 'nope'], budget);
    expect([...unusable].map(([name, { code }]) => [name, code])).toEqual([
      ['memif_delete', 'UNIMPLEMENTED'],
      ['nope', 'UNIMPLEMENTED'],
    ]);
  });

  test('a reply that is missing makes the request unusable', async () => {
    const fake = await start({
      keys: (all) => all.filter((key) => !key.startsWith('acl_del_reply')),
    });
    await expect(connect(fake).request('acl_del', { acl_index: 1 }, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: 'VPP has no message acl_del_reply',
    });
  });

  test('fields that our types have and VPP does not are named, before anything is sent', async () => {
    const changed = JSON.parse(
      JSON.stringify(modules).replace('["u16","dst_port"]', '["string","dst_port",8]'),
    ) as ModuleJson[];
    const fake = await startFakeVpp({ modules: changed });
    open.push(fake);
    const found = await connect(fake).unusable(['vxlan_add_del_tunnel_v3'], budget);
    expect(found.get('vxlan_add_del_tunnel_v3')).toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { found: 'vxlan_add_del_tunnel_v3.dst_port: expected number, found text' },
    });
  });
});

describe('what cannot be read', () => {
  test('an answer of another kind, or cut short, fails its call, and the connection goes on', async () => {
    let wrong: 'kind' | 'short' = 'kind';
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'add_node_next') return false;
        if (wrong === 'kind') answer('delete_subif_reply');
        else answer('add_node_next_reply', {}, 6);
        return true;
      },
    });
    const client = connect(fake);
    const arc = { node_name: 'a', next_name: 'b' };
    await expect(client.request('add_node_next', arc, budget)).rejects.toMatchObject({
      code: 'UNKNOWN',
      details: {
        rule: 'add_node_next',
        expected: 'add_node_next_reply',
        found: 'delete_subif_reply',
      },
    });
    wrong = 'short';
    await expect(client.request('add_node_next', arc, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: 'add_node_next_reply.retval', found: '0' },
    });
    await client.read('control_ping', {}, budget);
    expect(fake.peer.accepted).toBe(1);
  });
});
