// Protects policy routes in a workload's namespace: rules and tables are as the wire says, change with it (routes alone
// as well), are taken up by the next life of the driver, go with the wire, and nothing of anybody else is touched.

import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createKernelDataplane } from '../../../dataplane/kernel/kernel.ts';
import { changeLinkByName } from '../../../protocols/netlink/link.ts';
import { parsePrefix } from '../../../protocols/netlink/ip-address.ts';
import { addRule, addTableMark, deleteRule, type Rule } from '../../../protocols/netlink/rule.ts';
import type { Dataplane, KernelEnd, Wire, WirePolicy } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { noPolicies, policyFacts } from '../../sandbox/policy-facts.ts';
import { askUdpEcho, startUdpEcho } from '../../sandbox/udp-echo.ts';
import { localWire, toIpv6, wireAddresses } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 10_000 };
const reason = whyNoNamespaces();

describe.skipIf(reason !== undefined)(`policy routes in the kernel ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let netlink: Netlink;
  let dataplane: Dataplane;
  let client: NetworkNamespace;
  let endpoint: NetworkNamespace;

  beforeEach(() => {
    sandbox = createSandbox();
    netlink = createNetlink({ namespace: sandbox.namespace().url });
    client = sandbox.namespace();
    endpoint = sandbox.namespace();
    live();
  });

  afterEach(async () => {
    await dataplane.close();
    await netlink.close();
    await sandbox.close();
  });

  /** A driver that knows nothing of those before it. */
  function live(): void {
    const owner = { installation: 'policies', forwarder: 'node' };
    dataplane = createKernelDataplane({ netlink, clock: systemClock, ...owner });
  }

  function wireWith(policies: readonly WirePolicy[], number = 1): Wire {
    const wire = localWire({ client: client.inodeUrl, endpoint: endpoint.url }, number);
    return { ...wire, client: { ...wire.client, policies } as Wire['client'] };
  }

  const facts = (namespace = client) => policyFacts(netlink, namespace.url);
  const gateway = wireAddresses(1).endpoint;
  const web: WirePolicy = {
    from: '172.16.2.201/24',
    ipProtocol: 6,
    destinationPorts: { first: 80, last: 80 },
    routes: [{ prefix: '172.16.3.0/24', gateway }, { prefix: '172.16.4.0/24' }],
  };
  const rest: WirePolicy = { from: '172.16.2.0/24', routes: [{ prefix: '0.0.0.0/0', gateway }] };
  const sixth: WirePolicy = {
    from: 'fd01::5/128',
    sourcePorts: { first: 1000, last: 2000 },
    ipProtocol: 17,
    routes: [{ prefix: '::/0', gateway: 'fd00::a00:3' }, { prefix: 'fd02::/64' }],
  };
  const all = {
    rules: [
      'from 172.16.2.0/24 proto 6 dport 80-80 table 1',
      'from 172.16.2.0/24 table 2',
      'from fd01::5/128 proto 17 sport 1000-2000 table 3',
    ],
    routes: [
      `1: 172.16.3.0/24 via ${gateway}`,
      '1: 172.16.4.0/24 via link',
      `2: 0.0.0.0/0 via ${gateway}`,
      '3: ::/0 via fd00::a00:3',
      '3: fd02::/64 via link',
    ],
    tables: [1, 2, 3],
  };

  it('are one rule and one table each, in both families, and go with the wire', async () => {
    await dataplane.ensure(wireWith([web, rest, sixth]), budget);
    expect(await facts()).toEqual(all);
    await dataplane.ensure(wireWith([web, rest, sixth]), budget);
    expect(await facts()).toEqual(all);
    expect(await facts(endpoint)).toEqual(noPolicies);
    await dataplane.remove(['wire-1'], budget);
    expect(await facts()).toEqual(noPolicies);
  });

  it('carry what fits them and nothing else, in both families', async () => {
    const cases = [
      { from: '172.16.2.201', far: '10.99.0.1', all: '10.99.0.0/24', bits: 32 },
      { from: 'fd01::5', far: 'fd99::1', all: 'fd99::/64', bits: 128 },
    ];
    const wire = wireWith(
      cases.map(({ from, all, bits }) => ({ from: `${from}/${bits}`, routes: [{ prefix: all }] })),
    );
    const { client: near, endpoint: end } = wire as { client: KernelEnd; endpoint: KernelEnd };
    const froms = cases.map(({ from, bits }) => `${from}/${bits}`);
    const farAddresses = cases.map(({ far, bits }) => `${far}/${bits}`);
    await dataplane.ensure(
      {
        ...wire,
        client: { ...near, addresses: [...near.addresses, ...froms] },
        endpoint: {
          ...end,
          addresses: [...end.addresses, ...farAddresses],
          routes: [...end.routes, ...froms.map((prefix) => ({ prefix }))],
        },
      },
      budget,
    );
    for (const { from, far } of cases) {
      const echo = await startUdpEcho(endpoint, far);
      onTestFinished(() => echo.stop());
      expect(await askUdpEcho(client, from, far)).toBe('hello');
      const own = far.includes(':') ? toIpv6(wireAddresses(1).client) : wireAddresses(1).client;
      expect(await askUdpEcho(client, own, far)).toBe('ENETUNREACH');
    }
  });

  it('change with the wire: routes alone, one of them, their order, all away', async () => {
    await dataplane.ensure(wireWith([web, rest]), budget);
    const moved = { ...web, routes: [{ prefix: '172.16.9.0/24', gateway }] };
    await dataplane.ensure(wireWith([moved, rest]), budget);
    expect(await facts()).toEqual({
      rules: all.rules.slice(0, 2),
      routes: [`1: 172.16.9.0/24 via ${gateway}`, `2: 0.0.0.0/0 via ${gateway}`],
      tables: [1, 2],
    });
    await dataplane.ensure(wireWith([rest]), budget);
    expect((await facts()).rules).toEqual([expect.stringMatching(/^from 172.16.2.0\/24 table/)]);
    await dataplane.ensure(wireWith([rest, web]), budget);
    expect((await facts()).rules).toEqual([
      expect.stringMatching(/^from 172.16.2.0\/24 table/),
      expect.stringMatching(/^from 172.16.2.0\/24 proto 6/),
    ]);
    await dataplane.ensure(wireWith([]), budget);
    expect(await facts()).toEqual(noPolicies);
  });

  it('are put right again when somebody else took a rule away or the interface down', async () => {
    await dataplane.ensure(wireWith([rest]), budget);
    const name = 'nsm-1';
    const rule: Rule = {
      family: 2,
      priority: 30_000,
      table: 1,
      source: parsePrefix(rest.from ?? ''),
    };
    await sandbox.program(client, [
      { message: deleteRule(rule), what: 'take the rule away' },
      { message: changeLinkByName(name, { isUp: false }), what: 'down' },
      { message: changeLinkByName(name, { isUp: true }), what: 'up' },
    ]);
    expect(await facts()).toEqual({ rules: [], routes: [], tables: [1] });
    await dataplane.ensure(wireWith([rest]), budget);
    expect(await facts()).toMatchObject({
      rules: ['from 172.16.2.0/24 table 1'],
      routes: [`1: 0.0.0.0/0 via ${gateway}`],
    });
  });

  it('are taken up by the next life of the driver, and what it does not want any more goes', async () => {
    await dataplane.ensure(wireWith([web, rest, sixth]), budget);
    live();
    await dataplane.list(budget);
    await dataplane.ensure(wireWith([web, rest, sixth]), budget);
    expect(await facts()).toEqual(all);
    live();
    await dataplane.list(budget);
    await dataplane.ensure(wireWith([]), budget);
    expect(await facts()).toEqual(noPolicies);
  });

  it('of a wire that the next life only removes go where it is told the namespace', async () => {
    await dataplane.ensure(wireWith([rest]), budget);
    live();
    await dataplane.remove(['wire-1'], budget, new Map([['wire-1', client.inodeUrl]]));
    expect(await facts()).toEqual(noPolicies);
  });

  it('of two wires in one namespace do not mix, made at once or not', async () => {
    await Promise.all([
      dataplane.ensure(wireWith([web], 1), budget),
      dataplane.ensure(wireWith([rest], 2), budget),
    ]);
    expect((await facts()).tables).toEqual([1, 2]);
    await dataplane.remove(['wire-1'], budget);
    const left = await facts();
    expect(left.rules).toEqual([expect.stringMatching(/^from 172.16.2.0\/24 table [12]$/)]);
    await dataplane.remove(['wire-2'], budget);
    expect(await facts()).toEqual(noPolicies);
  });

  it('leave tables and rules of others alone', async () => {
    const foreign: Rule = {
      family: 2,
      priority: 100,
      table: 1,
      source: parsePrefix('10.9.0.0/16'),
    };
    const used = { family: 2, table: 2, metric: 7 } as const;
    await sandbox.program(client, [
      { message: addRule(foreign), what: 'a rule of another wire or program' },
      { message: addTableMark(used), what: 'a table of another wire or program' },
    ]);
    await dataplane.ensure(wireWith([rest]), budget);
    expect((await facts()).rules).toContain('from 172.16.2.0/24 table 3');
    await dataplane.remove(['wire-1'], budget);
    expect(await facts()).toEqual({ rules: ['from 10.9.0.0/16 table 1'], routes: [], tables: [2] });
  });

  it('that cannot be made leave the wire as it was', async () => {
    await dataplane.ensure(wireWith([rest]), budget);
    const broken = { ...web, routes: [{ prefix: '172.16.3.0/24', gateway: '255.255.255.255' }] };
    await expect(dataplane.ensure(wireWith([broken]), budget)).rejects.toMatchObject({
      message: expect.stringContaining('add route 172.16.3.0/24 to table'),
    });
    expect(await facts()).toMatchObject({
      rules: ['from 172.16.2.0/24 table 1'],
      routes: [`1: 0.0.0.0/0 via ${gateway}`],
      tables: [1],
    });
  });

  it.each([
    ['no route', { routes: [] }, 'policy 1'],
    ['two families', { from: 'fd00::/8', routes: [{ prefix: '10.0.0.0/8' }] }, 'policy 1'],
    ['port 0', { ...web, destinationPorts: { first: 0, last: 5 } }, 'policy 1'],
  ])('are refused with %s before anything is touched', async (_, policy, rule) => {
    await expect(dataplane.ensure(wireWith([policy]), budget)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule },
    });
    expect(await dataplane.list(budget)).toEqual([]);
  });
});
