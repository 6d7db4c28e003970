// Everything that `vwire` can be told to do: one row per role and command, read by the command frame, its help and
// the shell completion. Invariant: loading this file loads nothing else, so that help stays fast.

export interface CatalogOption {
  /** In commander's notation: `-o, --output <format>`. */
  readonly flags: string;
  readonly text: string;
  readonly choices?: readonly string[];
  /** May be given several times; the values are joined by commas. */
  readonly repeats?: true;
}

export interface CatalogRow {
  readonly name: string;
  /** What the reference calls its counterpart, where that is another word; stands for the name. */
  readonly alias?: string;
  /** A role runs until it is told to stop; a command does one thing and ends. */
  readonly kind: 'role' | 'command';
  readonly summary: string;
  /** Operands in commander's notation: `<id>` demanded, `[kind]` optional, `[args...]` any number. */
  readonly operands: string;
  /** Words that the shell offers for the first operand. */
  readonly operandChoices?: readonly string[];
  readonly options: readonly CatalogOption[];
  /** Command line and what it does. */
  readonly examples: readonly (readonly [string, string])[];
}

const outputOption: CatalogOption = {
  flags: '-o, --output <format>',
  text: 'table for people, json or yaml for programs',
  choices: ['table', 'json', 'yaml'],
};

const stateOption: CatalogOption = {
  flags: '--state-dir <path>',
  text: 'state directory of the installation, as VWIRE_STATE_DIR',
};

const connectOption: CatalogOption = {
  flags: '--connect-to <url>',
  text: 'URL of the manager to ask, instead of the socket in the state directory',
};

const insecureOption: CatalogOption = {
  flags: '--insecure',
  text: 'without identities, TLS and tokens; on loopback and unix sockets only, as VWIRE_INSECURE',
};

const role = (name: string, summary: string, example: readonly [string, string]): CatalogRow => ({
  name,
  kind: 'role',
  summary,
  operands: '',
  options: [],
  examples: [example],
});

const more: Readonly<Record<string, Partial<CatalogRow>>> = {
  nse: { operands: '<kind>', operandChoices: ['icmp-responder', 'passthrough'] },
  registry: { alias: 'registry-memory' },
};

const roles: readonly CatalogRow[] = [
  role('node', 'one node: supervises nsmgr and forwarder as its children', [
    'VWIRE_NODE=node-1 vwire node',
    'run the node node-1 until SIGTERM',
  ]),
  role('registry', 'registry domain: services, endpoints, watchers (also: registry-memory)', [
    'NSM_LISTEN_ON=tcp://127.0.0.1:5002 vwire registry',
    'serve the registry on loopback',
  ]),
  role('nsmgr', 'network service manager of a node; needs no privilege', [
    'NSM_REGISTRY_URL=tcp://127.0.0.1:5002 vwire nsmgr',
    'run a manager that uses that registry',
  ]),
  role(
    'forwarder',
    'builds the wires, in the kernel, Open vSwitch or VPP; needs CAP_NET_ADMIN and CAP_SYS_ADMIN',
    ['NSM_TUNNEL_IP=10.0.0.1 vwire forwarder', 'run a forwarder whose tunnels start at 10.0.0.1'],
  ),
  role(
    'nse',
    'Endpoint that answers pings (icmp-responder), or passes on to the next (passthrough)',
    [
      'NSM_SERVICE_NAMES=my-service NSM_CIDR_PREFIX=172.16.0.0/24 vwire nse icmp-responder',
      'offer my-service with addresses of that prefix',
    ],
  ),
  role('nsc', 'client: requests Network Services and keeps them up', [
    'NSM_NETWORK_SERVICES=kernel://my-service/nsm-1 vwire nsc',
    'request my-service on the interface nsm-1',
  ]),
  role('supplier', 'starts an Endpoint on its node for a client that would get none', [
    'NSM_SERVICE_NAME=my-service VWIRE_SUPPLIER_TEMPLATE=endpoint.yaml vwire supplier',
    'scale my-service from zero with processes of that template',
  ]),
].map((row) => ({ ...row, ...more[row.name] }));

const commands: readonly CatalogRow[] = [
  {
    name: 'up',
    kind: 'command',
    summary: 'run a whole mesh on this machine: bus, registry, manager, forwarder',
    operands: '',
    options: [
      stateOption,
      {
        flags: '--bus <bus>',
        text: 'nats: supervised processes over a nats-server of its own (default); memory: one process',
        choices: ['nats', 'memory'],
      },
      insecureOption,
    ],
    examples: [
      ['vwire up', 'everything on this machine, until Ctrl-C'],
      ['vwire up --state-dir /tmp/mesh', 'a second mesh beside it; ask it with the same option'],
      ['vwire up --bus memory', 'without nats-server, all in one process'],
      ['NSM_TUNNEL_IP=10.0.0.1 vwire up', 'ready for remote wires that end at that address'],
    ],
  },
  {
    name: 'demo',
    kind: 'command',
    summary: 'two nodes, a local and a remote wire, pings, and a complete teardown',
    operands: '',
    options: [
      { flags: '--json', text: 'print the result as one JSON line at the end' },
      {
        flags: '--bus <bus>',
        text: 'nats: between the parts over a nats-server (default); grpc: without a bus',
        choices: ['nats', 'grpc'],
      },
      {
        flags: '--forwarder <kind>',
        text: 'what carries the wires: the kernel (default), or an Open vSwitch or VPP that the demo runs',
        choices: ['kernel', 'ovs', 'vpp'],
      },
      insecureOption,
      { flags: '--keep', text: 'leave everything up and say how to look around' },
      {
        flags: '--sabotage <part>',
        text: 'break a part before the ping; the demo must notice',
        choices: ['wire', 'endpoint', 'forwarder'],
      },
    ],
    examples: [
      ['vwire demo', 'show both wires'],
      ['vwire demo --keep', 'leave them up, with commands to look at them, until Ctrl-C'],
      ['vwire demo --bus grpc', 'the same without nats-server, gRPC with mTLS on every hop'],
      ['vwire demo --forwarder ovs', 'the same over Open vSwitch, run in a private folder'],
      ['VWIRE_VPP=/usr/bin/vpp vwire demo --forwarder vpp', 'the same over VPP'],
      ['vwire demo --json', 'the result as the last line, for programs'],
      ['vwire demo --sabotage wire', 'prove that a broken wire is noticed'],
    ],
  },
  {
    name: 'status',
    kind: 'command',
    summary: 'what runs, what is wrong with it, and what to do; exit code 1 if something is',
    operands: '',
    options: [stateOption, connectOption, outputOption],
    examples: [
      ['vwire status', 'one line per part of the node on this machine'],
      ['vwire status --state-dir /tmp/mesh', 'the node whose state directory that is'],
      ['vwire status -o json', 'the same for a health check: isHealthy, parts'],
    ],
  },
  {
    name: 'get',
    kind: 'command',
    summary: 'list services, endpoints, connections or nodes, as one manager knows them',
    operands: '<kind>',
    operandChoices: ['services', 'endpoints', 'connections', 'nodes'],
    options: [
      { flags: '-w, --watch', text: 'connections alone: show every change until Ctrl-C' },
      stateOption,
      connectOption,
      outputOption,
    ],
    examples: [
      ['vwire get connections', "every wire of this node's workloads, and those that end here"],
      ['vwire get connections --watch', 'a live table; with -o json one line per change'],
      ['vwire get nodes', 'every node of the domain'],
      ['vwire get endpoints -o json', 'for programs; docs/cli.md names the fields'],
      ['vwire get services --connect-to unix:///run/nsm.sock', 'ask another manager'],
    ],
  },
  {
    name: 'describe',
    kind: 'command',
    summary: 'everything about one connection: hops, mechanisms, addresses, age, expiry',
    operands: '<kind> <id>',
    operandChoices: ['connection'],
    options: [stateOption, connectOption, outputOption],
    examples: [
      ['vwire describe connection nsc-0', 'hop by hop; the id of any hop will do'],
      ['vwire describe connection 3f2', 'the beginning of an id, if only one begins so'],
    ],
  },
  {
    name: 'why',
    kind: 'command',
    summary: 'explain a choice of forwarder and Endpoint: matches, candidates, reasons',
    operands: '[id]',
    options: [
      { flags: '--service <name>', text: 'what would be chosen now for a client of that service' },
      {
        flags: '--label <pair>',
        text: 'key=value, a label of that client; may be given several times',
        repeats: true,
      },
      { flags: '--offline <file>', text: 'explain what an earlier -o json or -o yaml has written' },
      stateOption,
      connectOption,
      outputOption,
    ],
    examples: [
      ['vwire why nsc-0', 'how that connection came to its forwarder and its Endpoint'],
      ['vwire why 7f3a9c1e-17', 'the decision that a refusal has named'],
      ['vwire why --service my-service --label app=web', 'who may serve such a client, and why'],
      ['vwire why nsc-0 -o json > why.json', 'keep the record'],
      ['vwire why --offline why.json', 'the same explanation later, without a mesh'],
    ],
  },
  {
    name: 'apply',
    kind: 'command',
    summary: 'register the Network Services of a YAML file: payload, matches, routes',
    operands: '<file>',
    options: [stateOption, connectOption],
    examples: [
      ['vwire apply service.yaml', 'all services of the file, or none when the file is wrong'],
      ['vwire apply - < service.yaml', 'the same from standard input'],
    ],
  },
  {
    name: 'delete',
    kind: 'command',
    summary: 'unregister a Network Service; wires that use it stay',
    operands: '<kind> <name>',
    operandChoices: ['service'],
    options: [stateOption, connectOption],
    examples: [['vwire delete service my-service', 'new requests for it are refused from then on']],
  },
  {
    name: 'drain',
    kind: 'command',
    summary: 'move all clients away from an Endpoint or a node, and keep new ones away',
    operands: '<kind> <name>',
    operandChoices: ['endpoint', 'node'],
    options: [
      { flags: '--undo', text: 'take it back; who has moved stays where they are' },
      {
        flags: '--timeout <duration>',
        text: 'how long to wait for the clients (default: 1m); moving goes on after that',
      },
      stateOption,
      connectOption,
      outputOption,
    ],
    examples: [
      ['vwire drain endpoint server-1', 'exit code 0 once no client is left, 1 where one stays'],
      ['vwire drain node node-2 --timeout 5m', 'all Endpoints of that node, new ones included'],
      ['vwire drain node node-2 --undo', 'give it out to new clients again'],
    ],
  },
  {
    name: 'policy',
    kind: 'command',
    summary: 'run the tests of an access policy (VWIRE_POLICY_FILE), without a mesh',
    operands: '<action> <file>',
    operandChoices: ['test'],
    options: [
      {
        flags: '--wasm <policy>',
        text: 'run the tests of the file against a policy of your own (VWIRE_POLICY_WASM)',
      },
      outputOption,
    ],
    examples: [
      ['vwire policy test policy.yaml', 'exit code 1 where the file or one of its tests is wrong'],
      ['vwire policy test policy.yaml -o json', 'every test with what decided it'],
      ['vwire policy test tests.yaml --wasm bundle.tar.gz', 'the same for a policy of your own'],
    ],
  },
  {
    name: 'nats-config',
    kind: 'command',
    summary: 'print the configuration of nats-server from a description of who may do what',
    operands: '<file>',
    options: [
      {
        flags: '--tls-dir <path>',
        text: 'where the server finds cert.pem, key.pem and ca.pem, /etc/nats/tls by default',
      },
      { flags: '--store-dir <path>', text: 'turns JetStream on, with its files below this folder' },
    ],
    examples: [
      [
        'vwire nats-config bus.yaml --store-dir /var/lib/nats > nats-server.conf',
        'each SPIFFE ID a user',
      ],
      ['nats-server -t -c nats-server.conf', 'nats-server says whether it takes it'],
    ],
  },
  {
    name: 'completion',
    kind: 'command',
    summary: 'print a completion script for your shell',
    operands: '<shell>',
    operandChoices: ['bash', 'zsh'],
    options: [],
    examples: [['source <(vwire completion bash)', 'complete in this shell']],
  },
  role('identity', 'SPIFFE identities for machines without SPIRE; for development only', [
    'VWIRE_IDENTITY_DIR=/tmp/identity vwire identity',
    'then run a role with SPIFFE_ENDPOINT_SOCKET=unix:///tmp/identity/nsmgr.sock',
  ]),
];

export const catalog: readonly CatalogRow[] = [...roles, ...commands];

/** Every word that may stand first on the command line. */
export const catalogNames: readonly string[] = catalog.flatMap(({ name, alias }) =>
  alias === undefined ? [name] : [name, alias],
);

export const findRow = (name: string): CatalogRow | undefined =>
  catalog.find((row) => row.name === name || row.alias === name);

/** Exit codes, the same for all roles and commands. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 64,
} as const;

export const exitCodeTexts: readonly (readonly [number, string])[] = [
  [exitCodes.ok, 'done, or stopped after a clean drain'],
  [exitCodes.failed, 'failed; the last line says what and what to do'],
  [exitCodes.usage, 'wrong command line or configuration; nothing was started'],
];
