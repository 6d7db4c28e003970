// Protects the client against a real VPP, named by VWIRE_VPP: its own definitions, changes and what they look like
// afterwards, refusals, events, statistics, and its death in the middle of calls. No device of the machine is touched.

import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  Vpp,
  VppEvent,
  VppStatistics,
  VppSubscriptionEvent,
} from '../../../protocols/ports/vpp.ts';
import { afPacketMode, allOnes, interfaceFlags } from '../../../protocols/vpp/messages/enums.ts';
import { knownDumps, knownRequests } from '../../../protocols/vpp/messages/known-messages.ts';
import { sumOfThreads } from '../../../protocols/vpp/statistics-segment.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
import { formatVppPrefix, vppAddress, vppPrefix } from '../../../protocols/vpp/vpp-address.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { loadApiFolder } from '../../../transports/vpp-api-client/api-folder.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppStatistics } from '../../../transports/vpp-api-client/vpp-statistics.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { VppSandbox } from '../../sandbox/vpp.ts';
import { startVpp, whyNoVpp } from '../../sandbox/vpp.ts';

const reason = whyNoVpp();
if (reason !== undefined) console.warn(`skipped, no VPP: ${reason}`);

const budget = { timeoutMs: 20_000 };

describe.skipIf(reason !== undefined)('a real VPP', () => {
  let vpp: VppSandbox;
  let client: Vpp;
  let statistics: VppStatistics;

  beforeAll(async () => {
    vpp = await startVpp();
    client = createVppClient({ socketPath: vpp.apiSocket, host: unixHost, name: 'vwire-test' });
    statistics = createVppStatistics({ socketPath: vpp.statisticsSocket, clock: systemClock });
    const { version } = await client.read('show_version', {}, budget);
    console.warn(`VPP ${version}`);
  });

  afterAll(async () => {
    await client?.close();
    statistics?.close();
    await vpp?.close();
  });

  const loopback = async (): Promise<number> =>
    (await client.request('create_loopback', {}, budget)).sw_if_index;

  test('it serves the messages that a forwarder needs as they are known here', async () => {
    const names = [...Object.keys(knownRequests), ...Object.keys(knownDumps)];
    const unusable = await client.unusable(names, budget);
    const found = [...unusable].map(([name, error]) => `${name}: ${error.details.found}`);
    if (found.length > 0) console.warn(`not served by this VPP: ${found.join('; ')}`);
    expect(unusable.has('control_ping')).toBe(false);
    // Whatever plugins a build has, no message may be there in another form.
    expect([...unusable.values()].map(({ code }) => code)).not.toContain('FAILED_PRECONDITION');
    expect(unusable.has('sw_interface_dump')).toBe(false);
  });

  test.skipIf(process.env['VWIRE_VPP_API_DIR'] === undefined)(
    'definitions from files serve as well as its own',
    async () => {
      const api = loadApiFolder(process.env['VWIRE_VPP_API_DIR'] ?? '');
      const other = createVppClient({ socketPath: vpp.apiSocket, host: unixHost, api });
      expect(await other.dump('sw_interface_dump', {}, budget)).toEqual(
        await client.dump('sw_interface_dump', {}, budget),
      );
      await other.close();
    },
  );

  test('an interface: made, tagged, set up, given addresses and an MTU, seen so, removed', async () => {
    const sw_if_index = await loopback();
    const tag = 'a connection';
    await client.request('sw_interface_tag_add_del', { is_add: true, sw_if_index, tag }, budget);
    const flags = interfaceFlags.adminUp;
    await client.request('sw_interface_set_flags', { sw_if_index, flags }, budget);
    const mtu = [1400, 0, 0, 0];
    await client.request('sw_interface_set_mtu', { sw_if_index, mtu }, budget);
    for (const text of ['10.9.8.7/24', '2001:db8::7/64']) {
      const prefix = vppPrefix(text);
      const change = { sw_if_index, is_add: true, prefix };
      await client.request('sw_interface_add_del_address', change, budget);
    }
    const [found] = (await client.dump('sw_interface_dump', {}, budget)).filter(
      (each) => each.sw_if_index === sw_if_index,
    );
    expect(found).toMatchObject({ tag, interface_dev_type: 'Loopback', mtu });
    expect(found?.flags).toBe(interfaceFlags.adminUp | interfaceFlags.linkUp);
    const prefixes = async (is_ipv6: boolean) =>
      (await client.dump('ip_address_dump', { sw_if_index, is_ipv6 }, budget)).map(({ prefix }) =>
        formatVppPrefix(prefix),
      );
    expect(await prefixes(false)).toEqual(['10.9.8.7/24']);
    expect(await prefixes(true)).toContain('2001:db8::7/64');
    await client.request('delete_loopback', { sw_if_index }, budget);
    const left = await client.dump('sw_interface_dump', {}, budget);
    expect(left.map((each) => each.sw_if_index)).not.toContain(sw_if_index);
  });

  test('cross connects, bridge domains, routes and ACLs: lists of variable length, and back', async () => {
    const [rx, tx] = [await loopback(), await loopback()];
    const cross = { rx_sw_if_index: rx, tx_sw_if_index: tx };
    await client.request('sw_interface_set_l2_xconnect', { ...cross, enable: true }, budget);
    expect(await client.dump('l2_xconnect_dump', {}, budget)).toContainEqual(cross);
    await client.request('sw_interface_set_l2_xconnect', { ...cross, enable: false }, budget);

    const prefix = vppPrefix('198.51.100.0/24');
    const paths = [tx, rx].map((sw_if_index) => ({ sw_if_index, proto: 0, weight: 1 }));
    await client.request('ip_route_add_del', { is_add: true, route: { prefix, paths } }, budget);
    const routes = await client.dump(
      'ip_route_dump',
      { table: { table_id: 0, is_ip6: false, name: '' } },
      budget,
    );
    const route = routes
      .map((each) => each['route'] as unknown as { prefix: typeof prefix; n_paths: number })
      .find((each) => formatVppPrefix(each.prefix) === '198.51.100.0/24');
    expect(route?.n_paths).toBe(2);
    await client.request('ip_route_add_del', { is_add: false, route: { prefix, paths } }, budget);

    const any = vppPrefix('0.0.0.0/0');
    const r = [80, 443].map((port) => ({
      is_permit: 1,
      src_prefix: any,
      dst_prefix: prefix,
      proto: 6,
      srcport_or_icmptype_last: 65_535,
      dstport_or_icmpcode_first: port,
      dstport_or_icmpcode_last: port,
    }));
    const added = { acl_index: allOnes, tag: 'two ports', r };
    const { acl_index } = await client.request('acl_add_replace', added, budget);
    const [acl] = await client.dump('acl_dump', { acl_index }, budget);
    expect(acl).toMatchObject({ acl_index, tag: 'two ports', r });
    const attached = { sw_if_index: rx, n_input: 1, acls: [acl_index] };
    await client.request('acl_interface_set_acl_list', attached, budget);
    expect(await client.dump('acl_interface_list_dump', { sw_if_index: rx }, budget)).toMatchObject(
      [attached],
    );
    const inUse = client.request('acl_del', { acl_index }, budget);
    await expect(inUse).rejects.toMatchObject({ details: { rule: 'ACL_IN_USE_INBOUND (-142)' } });
    await client.request(
      'acl_interface_set_acl_list',
      { sw_if_index: rx, n_input: 0, acls: [] },
      budget,
    );
    await client.request('acl_del', { acl_index }, budget);
    for (const sw_if_index of [rx, tx])
      await client.request('delete_loopback', { sw_if_index }, budget);
  });

  test('tunnels and memifs: made, dumped, made twice, removed', async () => {
    const { next_index } = await client.request(
      'add_node_next',
      { node_name: 'vxlan4-input', next_name: 'ethernet-input' },
      budget,
    );
    const tunnel = {
      src_address: vppAddress('192.0.2.1'),
      dst_address: vppAddress('192.0.2.2'),
      src_port: 4789,
      dst_port: 4789,
      mcast_sw_if_index: allOnes,
      decap_next_index: next_index,
      vni: 4711,
    };
    const add = { ...tunnel, is_add: true };
    const { sw_if_index } = await client.request('vxlan_add_del_tunnel_v3', add, budget);
    await expect(client.request('vxlan_add_del_tunnel_v3', add, budget)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { rule: 'TUNNEL_EXIST (-75)' },
    });
    const found = await client.dump('vxlan_tunnel_v2_dump', { sw_if_index: allOnes }, budget);
    expect(found).toMatchObject([{ ...tunnel, sw_if_index }]);
    await client.request('vxlan_add_del_tunnel_v3', { ...tunnel, is_add: false }, budget);

    const socket_filename = `${vpp.folder}/memif.sock`;
    const { socket_id } = await client.request(
      'memif_socket_filename_add_del_v2',
      { is_add: true, socket_filename },
      budget,
    );
    const memif = { role: 0, mode: 0, id: 7, socket_id, secret: 'a secret' };
    const made = await client.request('memif_create_v2', memif, budget);
    expect(await client.dump('memif_dump', {}, budget)).toMatchObject([
      { id: 7, role: 0, socket_id, sw_if_index: made.sw_if_index },
    ]);
    const sockets = await client.dump('memif_socket_filename_dump', {}, budget);
    expect(sockets).toContainEqual({ socket_id, socket_filename });
    await client.request('memif_delete', { sw_if_index: made.sw_if_index }, budget);
    await client.request('memif_socket_filename_add_del_v2', { is_add: false, socket_id }, budget);
  });

  test('refusals have the names of VPP', async () => {
    const nowhere = client.request(
      'sw_interface_set_flags',
      { sw_if_index: 9999, flags: 1 },
      budget,
    );
    await expect(nowhere).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { rule: 'INVALID_SW_IF_INDEX (-2)', found: 'sw_interface_set_flags' },
    });
    const nobody = { mode: afPacketMode.ethernet, host_if_name: 'vw-nobody' };
    await expect(client.request('af_packet_create_v3', nobody, budget)).rejects.toMatchObject({
      details: { found: 'af_packet_create_v3' },
    });
  });

  test('floating-point numbers are understood both ways', async () => {
    const reply = await client.read('get_f64_increment_by_one', { f64_value: 41.5 }, budget);
    expect(reply['f64_value']).toBe(42.5);
    // Its default is 1.0; VPP answers API_ENDIAN_FAILED where it reads anything else.
    await client.read('get_f64_endian_value', {}, budget);
  });

  test('a stream is whole, and one of nothing is empty', async () => {
    const stream = async () => (await client.stream('ip_path_mtu_get', {}, budget)).details;
    expect(await stream()).toEqual([]);
    const set = (path_mtu: number) =>
      ['192.0.2.1', '192.0.2.2', '2001:db8::1'].map((text) =>
        client.request('ip_path_mtu_update', { pmtu: { nh: vppAddress(text), path_mtu } }, budget),
      );
    await Promise.all(set(1400));
    const mtus = (await stream()).map((each) => (each['pmtu'] as VppFields)['path_mtu']);
    expect(mtus).toEqual([1400, 1400, 1400]);
    await Promise.all(set(0));
    expect(await stream()).toEqual([]);
  });

  test('2,000 pipelined pings are answered in order', async () => {
    const order: number[] = [];
    const startMs = performance.now();
    await Promise.all(
      Array.from({ length: 2000 }, async (_, index) => {
        await client.read('control_ping', {}, budget);
        order.push(index);
      }),
    );
    console.warn(`2,000 pipelined pings: ${Math.round(performance.now() - startMs)} ms`);
    expect(order).toEqual([...order.keys()]);
  });

  test('events tell of an interface that comes up and goes', async () => {
    const seen: VppSubscriptionEvent<'sw_interface_event'>[] = [];
    const stop = client.subscribe(
      {
        event: 'sw_interface_event',
        request: 'want_interface_events',
        start: { enable_disable: 1, pid: process.pid },
        stop: { enable_disable: 0, pid: process.pid },
      },
      (event) => seen.push(event),
    );
    const sw_if_index = await loopback();
    const flags = interfaceFlags.adminUp;
    await client.request('sw_interface_set_flags', { sw_if_index, flags }, budget);
    await client.request('delete_loopback', { sw_if_index }, budget);
    await eventually('its end is told', 5000, () =>
      expect(seen).toContainEqual(
        expect.objectContaining({
          fields: expect.objectContaining({ sw_if_index, deleted: true }),
        }),
      ),
    );
    expect(seen[0]).toEqual({ kind: 'subscribed' });
    stop();
    const count = seen.length;
    await client.request('delete_loopback', { sw_if_index: await loopback() }, budget);
    expect(seen).toHaveLength(count);
  });

  test('statistics: names, counters of an interface, and a heartbeat', async () => {
    const sw_if_index = await loopback();
    const names = await statistics.names(budget);
    expect(names).toEqual(expect.arrayContaining(['/if/names', '/if/rx', '/sys/heartbeat']));
    const values = await statistics.read(['/if/names', '/if/rx', '/sys/heartbeat'], budget);
    const interfaces = values.get('/if/names');
    expect(interfaces?.kind === 'names' && interfaces.names[sw_if_index]).toMatch(/^loop/);
    expect(sumOfThreads(values.get('/if/rx'), sw_if_index)).toEqual({ packets: 0n, bytes: 0n });
    expect(values.get('/sys/heartbeat')?.kind).toBe('scalar');
    await client.request('delete_loopback', { sw_if_index }, budget);
  });

  test('killed in the middle of calls and started again: what changes fails, what reads is asked again', async () => {
    const events: VppEvent[] = [];
    const stopWatching = client.watch((event) => events.push(event));
    await loopback();
    vpp.signal('SIGSTOP');
    const change = client.request('create_loopback', {}, budget);
    const look = client.dump('sw_interface_dump', {}, budget);
    const failed = expect(change).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { found: expect.stringContaining('it may have happened') },
    });
    await vpp.kill();
    await failed;
    await vpp.start();
    expect((await look).map(({ interface_name: name }) => name)).toEqual(['local0']);
    expect(events.map(({ kind }) => kind)).toEqual(['lost', 'connected']);
    statistics.reopen();
    expect(await statistics.names(budget)).toContain('/if/rx');
    stopWatching();
  });

  test('nothing is left: no descriptor of 20 clients that came and went', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    for (let turn = 0; turn < 20; turn += 1) {
      const other = createVppClient({ socketPath: vpp.apiSocket, host: unixHost });
      await other.read('control_ping', {}, budget);
      await other.close();
    }
    await eventually('descriptors are closed', 5000, () => expect(descriptors()).toBe(before));
  });
});
