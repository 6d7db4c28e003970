// One conversation with VPP, recorded from a real one and replayed to the client without: the same calls must make the
// same bytes, and the recorded answers the same results. What is recorded is every frame but the table of messages, of
// which only those of the tests' definitions are kept.

import type { ByteStream, StreamHost } from '../../../protocols/ports/byte-stream.ts';
import type { Vpp, VppSubscriptionEvent } from '../../../protocols/ports/vpp.ts';
import type { ApiCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { builtinApi } from '../../../protocols/vpp/builtin-api.ts';
import { createFrameSplitter } from '../../../protocols/vpp/frames.ts';
import { allOnes, interfaceFlags, tunnelMode } from '../../../protocols/vpp/messages/enums.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
import { formatVppPrefix, vppAddress, vppPrefix } from '../../../protocols/vpp/vpp-address.ts';
import { eventually } from '../../sandbox/eventually.ts';

export interface Frame {
  readonly by: 'client' | 'vpp';
  /** One message without its frame, in hexadecimal. */
  readonly message: string;
}

export interface Recording {
  /** Of the VPP that answered. */
  readonly version: string;
  readonly frames: readonly Frame[];
  /** What the calls of `converse` returned. */
  readonly results: unknown;
}

const budget = { timeoutMs: 20_000 };

/** Calls one after another, so that contexts are the same each time. Leaves nothing behind in VPP. */
export async function converse(client: Vpp): Promise<unknown> {
  const seen: VppSubscriptionEvent<'sw_interface_event'>[] = [];
  const stop = client.subscribe(
    {
      event: 'sw_interface_event',
      request: 'want_interface_events',
      start: { enable_disable: 1, pid: 77 },
      stop: { enable_disable: 0, pid: 77 },
    },
    (event) => seen.push(event),
  );
  const interfaces = await converseAboutInterfaces(client);
  const tunnels = await converseAboutTunnels(client);
  const ike = await converseAboutIke(client);
  await eventually('an event', budget.timeoutMs, () =>
    expectSome(seen.some((event) => event.kind === 'event')),
  );
  stop();
  const events = seen.flatMap((event) => (event.kind === 'event' ? [event.fields] : []));
  return { interfaces, tunnels, ike, events };
}

function expectSome(isThere: boolean): void {
  if (!isThere) throw new Error('none yet');
}

async function converseAboutInterfaces(client: Vpp) {
  const { sw_if_index } = await client.request('create_loopback', {}, budget);
  const other = (await client.request('create_loopback', {}, budget)).sw_if_index;
  await client.request(
    'sw_interface_tag_add_del',
    { is_add: true, sw_if_index, tag: 'wire 1' },
    budget,
  );
  const flags = interfaceFlags.adminUp;
  await client.request('sw_interface_set_flags', { sw_if_index, flags }, budget);
  await client.request('sw_interface_set_mtu', { sw_if_index, mtu: [1400, 0, 0, 0] }, budget);
  const prefix = vppPrefix('10.9.8.7/24');
  await client.request(
    'sw_interface_add_del_address',
    { sw_if_index, is_add: true, prefix },
    budget,
  );
  const found = (await client.dump('sw_interface_dump', {}, budget)).map(
    ({ interface_name, tag, mtu, flags: up }) => ({ interface_name, tag, mtu, up }),
  );
  const addresses = await client.dump('ip_address_dump', { sw_if_index, is_ipv6: false }, budget);
  const cross = { rx_sw_if_index: other, tx_sw_if_index: sw_if_index };
  await client.request('sw_interface_set_l2_xconnect', { ...cross, enable: true }, budget);
  const crosses = await client.dump('l2_xconnect_dump', {}, budget);
  await client.request('sw_interface_set_l2_xconnect', { ...cross, enable: false }, budget);
  const refusal = await refusalOf(
    client.request('sw_interface_set_flags', { sw_if_index: 9999, flags }, budget),
  );
  for (const index of [sw_if_index, other]) {
    await client.request('delete_loopback', { sw_if_index: index }, budget);
  }
  const prefixes = addresses.map((each) => formatVppPrefix(each.prefix));
  return { found, prefixes, crosses, refusal };
}

async function converseAboutTunnels(client: Vpp) {
  const tunnel = {
    src_address: vppAddress('192.0.2.1'),
    dst_address: vppAddress('192.0.2.2'),
    src_port: 4789,
    dst_port: 4789,
    mcast_sw_if_index: allOnes,
    decap_next_index: allOnes,
    vni: 4711,
  };
  await client.request('vxlan_add_del_tunnel_v3', { ...tunnel, is_add: true }, budget);
  const refusal = await refusalOf(
    client.request('vxlan_add_del_tunnel_v3', { ...tunnel, is_add: true }, budget),
  );
  const tunnels = await client.dump('vxlan_tunnel_v2_dump', { sw_if_index: allOnes }, budget);
  await client.request('vxlan_add_del_tunnel_v3', { ...tunnel, is_add: false }, budget);
  const any = vppPrefix('::/0');
  const rule = { is_permit: 1, src_prefix: any, dst_prefix: any, proto: 6 };
  const acl = { acl_index: allOnes, tag: 'acl', r: [rule, { ...rule, proto: 17 }] };
  const { acl_index } = await client.request('acl_add_replace', acl, budget);
  const rules = (await client.dump('acl_dump', { acl_index }, budget)).map(({ tag, r }) => ({
    tag,
    protocols: r.map(({ proto }) => proto),
  }));
  await client.request('acl_del', { acl_index }, budget);
  return { refusal, vnis: tunnels.map(({ vni }) => vni), rules };
}

async function converseAboutIke(client: Vpp) {
  const itf = { user_instance: 7, mode: tunnelMode.pointToPoint };
  const { sw_if_index } = await client.request('ipsec_itf_create', { itf }, budget);
  const name = 'profile 1';
  const identity = Uint8Array.from({ length: 64 }, (_, at) => 65 + (at % 26));
  const whole = { start_addr: vppAddress('10.0.0.1'), end_addr: vppAddress('10.0.0.1') };
  const ts = { is_local: true, protocol_id: 0, start_port: 0, end_port: 65_535, ...whole };
  const ike = { crypto_alg: 12, crypto_key_size: 256, integ_alg: 2, dh_group: 14 };
  const esp = { crypto_alg: 12, crypto_key_size: 256, integ_alg: 2 };
  const life = { lifetime: 3600n, lifetime_jitter: 10, handover: 5, lifetime_maxdata: 0n };
  const responder = { sw_if_index, addr: vppAddress('192.0.2.2') };
  const id = { name, is_local: true, id_type: 2, data: identity };
  await client.request('ikev2_profile_set_liveness', { period: 1, max_retries: 3 }, budget);
  await client.request('ikev2_profile_add_del', { name, is_add: true }, budget);
  await client.request('ikev2_profile_set_id', id, budget);
  await client.request('ikev2_profile_set_ts', { name, ts }, budget);
  await client.request('ikev2_profile_set_udp_encap', { name }, budget);
  await client.request('ikev2_set_tunnel_interface', { name, sw_if_index }, budget);
  await client.request('ikev2_set_responder', { name, responder }, budget);
  await client.request('ikev2_set_ike_transforms', { name, tr: ike }, budget);
  await client.request('ikev2_set_esp_transforms', { name, tr: esp }, budget);
  await client.request('ikev2_set_sa_lifetime', { name, ...life }, budget);
  const profiles = (await client.dump('ikev2_profile_dump', {}, budget)).map(({ profile }) => ({
    name: profile.name,
    identity: profile.loc_id.data,
    ports: [profile.loc_ts.start_port, profile.loc_ts.end_port],
    group: profile.ike_ts.dh_group,
    lifetime: Number(profile.lifetime),
    isFor: profile.tun_itf === sw_if_index && profile.responder.sw_if_index === sw_if_index,
    method: profile.auth.method,
  }));
  const refusals = [
    await refusalOf(client.request('ikev2_set_local_key', { key_file: '/nowhere' }, budget)),
    await refusalOf(
      client.request(
        'ikev2_profile_set_auth',
        { name, auth_method: 1, is_hex: false, data: Uint8Array.of(47) },
        budget,
      ),
    ),
    await refusalOf(client.request('ikev2_profile_add_del', { name, is_add: true }, budget)),
  ];
  await client.request('ikev2_profile_add_del', { name, is_add: false }, budget);
  const tunnels = await client.dump('ipsec_itf_dump', { sw_if_index: allOnes }, budget);
  await client.request('ipsec_itf_delete', { sw_if_index }, budget);
  return { profiles, refusals, instances: tunnels.map((each) => each.itf.user_instance) };
}

async function refusalOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown as { code: string; details: { rule: string } },
  );
  return error === undefined ? 'no refusal' : `${error.code}: ${error.details.rule}`;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A host that writes down what passes. */
export function recordingHost(host: StreamHost, api: ApiCatalog, frames: Frame[]): StreamHost {
  return {
    ...host,
    openStream(socketPath, events) {
      const fromClient = createFrameSplitter();
      const fromVpp = createFrameSplitter();
      let isGreeted = false;
      const stream: ByteStream = host.openStream(socketPath, {
        ...events,
        onBytes(bytes) {
          for (const message of fromVpp.push(bytes)) {
            const kept = isGreeted ? message : withFewerMessages(message, api);
            isGreeted = true;
            frames.push({ by: 'vpp', message: hex(kept) });
          }
          events.onBytes(bytes);
        },
      });
      return {
        get queuedBytes() {
          return stream.queuedBytes;
        },
        destroy: () => stream.destroy(),
        send(bytes) {
          for (const message of fromClient.push(bytes)) {
            frames.push({ by: 'client', message: hex(message) });
          }
          stream.send(bytes);
        },
      };
    },
  };
}

/** The handshake with those messages alone that the definitions have. */
function withFewerMessages(message: Uint8Array, api: ApiCatalog): Uint8Array {
  const codec = builtinApi.codec('sockclnt_create_reply');
  const { header, fields } = codec.decode(message);
  const keys = new Set(api.names.map((name) => api.codec(name).key));
  const table = (fields['message_table'] as readonly VppFields[]).filter(({ name }) =>
    keys.has(name as string),
  );
  return codec.encode(16, header, { ...fields, count: table.length, message_table: table });
}
