// Protects whoever types a command or writes a manifest: whatever the arguments or variables are, each parser of bin/
// either takes them or refuses with one UsageError or ConfigError that says what is wrong. At least half of the
// inputs are mutations of valid ones. A failure prints the seed and the input.

import { describe, expect, it, vi } from 'vitest';
import { parseArguments, UsageError } from '../../bin/commands/arguments.ts';
import { catalog, type CatalogRow } from '../../bin/commands/catalog.ts';
import { commonVariables } from '../../bin/config/common.ts';
import { configWarnings, roleVariables } from '../../bin/config/load.ts';
import { ConfigError, readVariables, type Variable } from '../../bin/config/variables.ts';
import { describeError } from '../../protocols/errors.ts';
import type { Random } from '../../protocols/ports/random.ts';
import { mutateText, pick, randomText, seeded } from './mutate.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_120);
const inputsPerParser = 2_000;

type Refusal = typeof UsageError | typeof ConfigError;

/** How a run went: taken inputs, and the messages of refusals. */
interface Outcome {
  taken: number;
  refused: number;
}

/** Anything but a value or a refusal with a message of its own fails with seed and input. */
function survives(
  outcome: Outcome,
  { parse, refusal, input }: { parse: () => void; refusal: Refusal; input: unknown },
): string {
  try {
    parse();
    outcome.taken += 1;
    return '';
  } catch (thrown) {
    if (thrown instanceof refusal && thrown.message.trim() !== '') {
      outcome.refused += 1;
      return thrown.message;
    }
    const shown = JSON.stringify(input).slice(0, 2_000);
    expect.unreachable(`seed ${seed}, input ${shown}: ${describeError(thrown)}`);
  }
}

/** Both must occur, or the inputs test nothing. */
function expectMixed({ taken, refused }: Outcome): void {
  expect(taken + refused).toBe(inputsPerParser);
  expect(taken).toBeGreaterThan(inputsPerParser / 100);
  expect(refused).toBeGreaterThan(inputsPerParser / 100);
}

interface CommandLine {
  readonly name: string;
  readonly args: readonly string[];
}

const optionValues: Readonly<Record<string, string>> = {
  path: '/tmp/mesh',
  url: 'tcp://127.0.0.1:5001',
};

/** What may follow an option on a valid line, or nothing for a flag. */
function valueOf(random: Random, option: CatalogRow['options'][number]): readonly string[] {
  const [, wanted] = /<(\w+)>/.exec(option.flags) ?? [];
  if (wanted === undefined) return [];
  return [
    option.choices === undefined ? (optionValues[wanted] ?? 'x') : pick(random, option.choices),
  ];
}

function validOption(random: Random, option: CatalogRow['options'][number]): readonly string[] {
  const spellings = option.flags.split(/[ ,]+/).filter((word) => word.startsWith('-'));
  const spelling = pick(random, spellings);
  const [value] = valueOf(random, option);
  if (value === undefined) return [spelling];
  return random.integer(3) === 0 && spelling.startsWith('--')
    ? [`${spelling}=${value}`]
    : [spelling, value];
}

function validLine(random: Random): CommandLine {
  const row = pick(random, catalog);
  const operands = row.operands
    .split(' ')
    .filter(Boolean)
    .map((_, index) =>
      index === 0 && row.operandChoices !== undefined ? pick(random, row.operandChoices) : 'nsc-0',
    );
  const chosen = row.options.filter(() => random.integer(2) === 0);
  return {
    name: row.name,
    args: [...operands, ...chosen.flatMap((each) => validOption(random, each))],
  };
}

const everyWord = [
  ...new Set(
    catalog.flatMap(({ name, options, operandChoices = [] }) => [
      name,
      ...operandChoices,
      ...options.flatMap(({ flags, choices = [] }) => [...flags.split(/[ ,]+/), ...choices]),
    ]),
  ),
  '--',
  '-',
  '--help',
  '-h',
  '--__proto__',
  '--constructor=x',
];

type LineEdit = (random: Random, args: string[]) => void;

const lineEdits: readonly LineEdit[] = [
  (random, args) => {
    const at = random.integer(args.length + 1);
    args.splice(at, 1, mutateText(random, args[at] ?? pick(random, everyWord), everyWord));
  },
  (random, args) => void args.splice(random.integer(args.length + 1), 1),
  (random, args) => void args.splice(random.integer(args.length + 1), 0, pick(random, everyWord)),
  (random, args) => void args.push(...args.slice(random.integer(args.length + 1))),
  (_, args) => void args.reverse(),
];

function mutateLine(random: Random, { name, args }: CommandLine): CommandLine {
  const edited = [...args];
  const count = 1 + random.integer(3);
  for (let edit = 0; edit < count; edit += 1) pick(random, lineEdits)(random, edited);
  return { name, args: edited };
}

function randomLine(random: Random): CommandLine {
  const args = Array.from({ length: random.integer(6) }, () =>
    random.integer(2) === 0 ? pick(random, everyWord) : randomText(random, 6),
  );
  return { name: pick(random, catalog).name, args };
}

describe('a command line', () => {
  it('that is valid is taken', () => {
    const random = seeded(seed);
    for (let count = 0; count < 1_000; count += 1) {
      const { name, args } = validLine(random);
      expect(() => parseArguments(name, args), `${name} ${args.join(' ')}`).not.toThrow();
    }
  });

  it('that is mutated or random is taken or refused with one message that names the help', () => {
    const random = seeded(seed);
    const outcome: Outcome = { taken: 0, refused: 0 };
    const printed = vi.spyOn(process.stdout, 'write');
    for (let count = 0; count < inputsPerParser; count += 1) {
      const input = count % 4 === 3 ? randomLine(random) : mutateLine(random, validLine(random));
      const { name, args } = input;
      const parse = (): void => {
        const { operands, options } = parseArguments(name, args);
        expect(operands.every((each) => typeof each === 'string')).toBe(true);
        expect(Object.getPrototypeOf(options)).toBe(Object.prototype);
      };
      const message = survives(outcome, { parse, refusal: UsageError, input });
      expect(message, `seed ${seed}, input ${JSON.stringify(input)}`).not.toContain('outputHelp');
      if (message !== '') expect(message).toMatch(new RegExp(`\\nTry: vwire ${name} --help$`));
    }
    expectMixed(outcome);
    expect(printed).not.toHaveBeenCalled();
    printed.mockRestore();
  });
});

/** Valid values beside the defaults, by the label of the kind. */
const validValues: Readonly<Record<string, readonly string[]>> = {
  text: ['nsc', '', '127.0.0.1:53', '/etc/x.yaml', '[kernel://a/b],[kernel://c/d]'],
  ports: ['61000-65535', '1-65535', '51820-51820'],
  'list of mechanisms': ['MEMIF', 'KERNEL,VXLAN', 'wireguard', 'Ipsec,VLAN,memif'],
  duration: ['10m', '750ms', '1h30m', '1.5s', '0', '2562047h'],
  boolean: ['true', 'false', '1', '0', 'T', 'FALSE'],
  list: ['a,b', '', 'nsmgr,nse,nsc', 'etc/nsm/opa/common/.*.rego'],
  'list of rules': [
    '',
    'tokens_valid,tokens_expired',
    'etc/nsm/opa/common/.*.rego,etc/nsm/opa/server/.*.rego',
  ],
  map: ['p2p:true', 'a:b,c:d', '', '1000:alice', 'other.local:/path/bundle.json'],
  URL: [
    'tcp://127.0.0.1:5002',
    'unix:///run/nsm.sock',
    'nats://127.0.0.1:4222',
    'nats://[::1]:4222',
  ],
  'list of URLs': [
    'unix:///a.sock,tcp://127.0.0.1:5001',
    'kernel://my-service@my.domain/nsm-1?a=b&c=d',
    'kernel://a/nsm-1,kernel://b/nsm-2',
    'nats://127.0.0.1:4222,nats://127.0.0.2:4222',
    'nats://[::1]:4222',
  ],
  'groups of URLs': ['[kernel://a/b],[kernel://c/d]', '[kernel://a/nsm-1,kernel://b/nsm-2]', ''],
  'IP address': ['10.0.0.1', '2001:db8::1', '::ffff:10.0.0.1'],
  integer: ['0', '1', '3', '16', '50', '4789', '65535'],
  probe: ['tcp:8080', 'tcp:1', 'tcp:65535', ''],
  'log level': ['INFO', 'warning', 'Trace'],
  'CIDR groups': [
    '10.0.0.0/24',
    '10.0.0.0/24,[10.1.0.0/24,fd00::/64]',
    '[fd00::/120],[10.0.0.0/31]',
  ],
  JSON: ['[]', '[{"dns_server_ips":["10.0.0.1"],"search_domains":["example.org"]}]', '[{}]'],
};

const roles = Object.entries({ ...roleVariables, vwire: commonVariables });
const variables = roles.flatMap(([, each]): Variable<unknown>[] => Object.values(each));
/** One variable for each parser; several variables share one. */
const parsers = [...new Map(variables.map((each) => [each.kind, each])).values()];

/** What the variable takes: its own default, and of the values for its kind those that fit it. */
function validFor({ kind, byDefault }: Variable<unknown>): readonly string[] {
  const known = validValues[kind.label] ?? kind.label.split(' or ');
  const all = byDefault === undefined ? known : [byDefault, ...known];
  return all.filter((value) => kind.schema.safeParse(value).success);
}

/** Of eight values five are mutations, one is valid, two have no shape. */
function valueFor(random: Random, valid: readonly string[], count: number): string {
  if (count % 8 < 5) return mutateText(random, pick(random, valid), valid);
  return count % 8 === 5 ? pick(random, valid) : randomText(random, 12);
}

describe('a variable', () => {
  const rows = parsers.map((each) => [`${each.kind.label} (${each.name})`, each] as const);

  it.each(rows)('of kind %s is taken or refused with one line that names it', (_, variable) => {
    const random = seeded(seed);
    const outcome: Outcome = { taken: 0, refused: 0 };
    const valid = validFor(variable);
    expect(valid.length, `no valid value for ${variable.kind.label}`).toBeGreaterThan(1);
    for (let count = 0; count < inputsPerParser; count += 1) {
      const input = valueFor(random, valid, count);
      const parse = (): void => {
        const { value } = readVariables('fuzz', { value: variable }, { [variable.name]: input });
        if (value === undefined) throw new Error('taken, but without a value');
      };
      const message = survives(outcome, { parse, refusal: ConfigError, input });
      if (message === '') continue;
      const lines = message.split('\n');
      expect(lines).toHaveLength(2);
      expect(lines[1]).toMatch(new RegExp(`^  ${variable.name}: expected .+; found ".*"$`));
    }
    // Every text is a text, and every text is a list of some.
    if (['text', 'list'].includes(variable.kind.label)) expect(outcome.taken).toBe(inputsPerParser);
    else expectMixed(outcome);
  });
});

describe('an environment', () => {
  it.each(roles)(
    'of %s is taken or refused with one line for each wrong variable',
    (role, known) => {
      const random = seeded(seed);
      const outcome: Outcome = { taken: 0, refused: 0 };
      const all = Object.values(known).map((each: Variable<unknown>) => ({
        name: each.name,
        valid: validFor(each),
      }));
      for (let count = 0; count < inputsPerParser; count += 1) {
        const chosen = Array.from({ length: 1 + random.integer(3) }, () => pick(random, all));
        const input = Object.fromEntries(
          chosen.map(({ name, valid }) => [name, valueFor(random, valid, count)]),
        );
        const names = Object.keys(input);
        const odd = mutateText(random, pick(random, names), names);
        const parse = (): void => {
          for (const warning of configWarnings(role, { ...input, [odd]: 'x' })) {
            expect(warning).toContain(odd);
          }
          readVariables(role, known, input);
        };
        const message = survives(outcome, { parse, refusal: ConfigError, input });
        if (message === '') continue;
        const lines = message.split('\n').slice(1);
        expect(lines.length).toBeLessThanOrEqual(names.length);
        for (const line of lines) expect(names).toContain(line.trim().split(':')[0]);
      }
      expectMixed(outcome);
    },
  );
});
