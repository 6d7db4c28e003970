// The kernel's side of a trunk: a pair of links, of which VPP takes up the outer one; the ends of wires are joined to the
// inner one by a program on each of them, and one on the inner link.
// Invariants: everything is found again by names and tags; making what is there already changes nothing that is right.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { EncodedMessage, NetlinkMessage } from '../../protocols/netlink/codec.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import {
  changeLink,
  changeLinkByName,
  createVeth,
  deleteLinkByName,
  getLink,
  getLinkByName,
  type Link,
  parseLink,
} from '../../protocols/netlink/link.ts';
import {
  addClsact,
  deleteIngressFilters,
  dumpIngressFilters,
} from '../../protocols/netlink/traffic-control.ts';
import { parseIngressProgram, setIngressProgram } from '../../protocols/netlink/traffic-program.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import { trunkMtu } from './frame-classes.ts';
import {
  isSameTrunk,
  type Owner,
  parseTrunkTag,
  type TrunkId,
  trunkLinkName,
  trunkTag,
} from './tags.ts';
import { branchProgram, trunkProgram } from './trunk-programs.ts';

export interface TrunkLinks {
  readonly outer: Link;
  readonly inner: Link;
}

/** Of a link with a number that is not known yet. */
const linkIndexOffset = 4;
/** No trunk is called so. */
const trial: TrunkId = { frames: 9, lane: 9 };
const trunkProgramName = 'vwire trunk';
const branchProgramName = (inner: number): string => `${trunkProgramName} ${inner}`;
/** EINVAL: somebody has put a hook of another kind there, which takes the program as well. */
const hookIsThere = [errno.exists, errno.invalid];

export class TrunkLinkKeeper {
  readonly #netlink: Netlink;
  readonly #owner: Owner;

  constructor({ netlink, owner }: { readonly netlink: Netlink; readonly owner: Owner }) {
    this.#netlink = netlink;
    this.#owner = owner;
  }

  /** As it is, or as it becomes. Errors: FAILED_PRECONDITION for others' links of its names, the kernel's refusals. */
  async make(id: TrunkId, budget: Budget): Promise<TrunkLinks> {
    const found = await this.#find(id, budget);
    const there = isPair(found) ? found : await this.#create(id, found, budget);
    await this.#complete(there, id, budget);
    return there;
  }

  /** Whether the links are there, up, and the program is on the inner one. */
  async isWhole({ outer, inner }: TrunkLinks, budget: Budget): Promise<boolean> {
    const links = [outer, inner];
    const answers = await this.#run(
      [
        ...links.map(({ index, name }) => asked(`find ${name}`, getLink(index), [errno.noDevice])),
        filtersRequest(inner.index),
      ],
      budget,
    );
    const isUp = links.every(({ name }, at) => {
      const [message] = answers[at] ?? [];
      const found = message && parseLink(message);
      return found?.isUp === true && found.name === name;
    });
    return isUp && programIn(answers[links.length] ?? []).name === trunkProgramName;
  }

  /** Those of the links whose frames do not go to the trunk. */
  async unattached(
    links: readonly number[],
    inner: number,
    budget: Budget,
  ): Promise<readonly number[]> {
    const programs = await this.#programsOn(links, budget);
    return links.filter((_, at) => programs[at]?.name !== branchProgramName(inner));
  }

  /** Sends frames of the link to the trunk. Returns how to have it as it was before. */
  async attach(
    index: number,
    inner: number,
    budget: Budget,
  ): Promise<(undoBudget: Budget) => Promise<void>> {
    const [there] = await this.#programsOn([index], budget);
    const name = branchProgramName(inner);
    if (there?.name === name) return async () => {};
    const program = { program: branchProgram(inner), name };
    await this.#run(
      [
        ...hookRequests(index, there?.isOthers === true),
        asked(`join link ${index} to the trunk`, setIngressProgram(index, program)),
      ],
      budget,
    );
    const undo = detaching(index, branchUndo(index, there?.name));
    return async (undoBudget) => void (await this.#run([undo], undoBudget));
  }

  /** Frames of the link go to no trunk any more. */
  async detach(index: number, budget: Budget): Promise<void> {
    await this.#run([detaching(index, deleteIngressFilters(index))], budget);
  }

  /** Takes away whatever is there of these trunks. */
  async remove(ids: readonly TrunkId[], budget: Budget): Promise<void> {
    const found = await Promise.all(ids.map((id) => this.#find(id, budget).catch(noneOfOthers)));
    const removals = found
      .flatMap(({ outer, inner }) => outer ?? inner ?? [])
      .map(({ name }) => asked(`remove ${name}`, deleteLinkByName(name), [errno.noDevice]));
    await this.#run(removals, budget);
  }

  /** Undefined where such programs can be used; else why not. Errors: those of the port. */
  async whyNot(budget: Budget): Promise<string | undefined> {
    const [name, peer] = [this.#name(trial, 'o'), this.#name(trial, 'i')];
    const remove = deleteLinkByName(name);
    const index = { register: 'trial' };
    const outcome = await this.#netlink.execute(
      [
        {
          protocol: 'route',
          requests: [
            asked('remove a trial trunk that was left over', remove, [errno.noDevice]),
            {
              what: 'create a trial trunk',
              message: createVeth({ name, group: 0, mtu: 0, peer: { name: peer } }),
              undo: [remove],
            },
            {
              what: 'find the trial trunk',
              message: getLinkByName(name),
              store: { register: 'trial', offset: linkIndexOffset },
            },
            asked('add a trial hook', addClsact(index)),
            asked(
              'add a trial program',
              setIngressProgram(index, { program: trunkProgram(), name: trunkProgramName }),
            ),
            asked('remove the trial trunk', remove),
          ],
        },
      ],
      budget,
    );
    return outcome.ok ? undefined : `could not ${outcome.failure.what}: ${outcome.failure.found}`;
  }

  async #find(id: TrunkId, budget: Budget): Promise<Partial<TrunkLinks>> {
    const names = [this.#name(id, 'o'), this.#name(id, 'i')] as const;
    const answers = await this.#run(
      names.map((name) => asked(`find ${name}`, getLinkByName(name), [errno.noDevice])),
      budget,
    );
    const [outer, inner] = answers.map(([message]) => message && parseLink(message));
    for (const link of [outer, inner]) {
      // One that was made and not yet tagged has no text.
      if (link === undefined || link.alias === '') continue;
      const tag = parseTrunkTag(this.#owner, link.alias);
      if (tag === undefined || !isSameTrunk(tag, id)) throw foreign(link);
    }
    return { ...(outer && { outer }), ...(inner && { inner }) };
  }

  async #create(id: TrunkId, leftOver: Partial<TrunkLinks>, budget: Budget): Promise<TrunkLinks> {
    const [name, peer] = [this.#name(id, 'o'), this.#name(id, 'i')];
    const removals = Object.values(leftOver).map((link) =>
      asked(`remove ${link.name}`, deleteLinkByName(link.name), [errno.noDevice]),
    );
    const message = createVeth({ name, group: 0, mtu: trunkMtu(id.frames), peer: { name: peer } });
    await this.#run([...removals, asked(`create ${name}`, message)], budget);
    const made = await this.#find(id, budget);
    if (isPair(made)) return made;
    throw new NsmError('ABORTED', 'the trunk to VPP was taken away while it was made', {
      rule: 'trunk',
      expected: `${name} and ${peer}`,
      found: Object.values(made)
        .map((link) => link.name)
        .join(' '),
    });
  }

  /** Everything that it may have already is said again, which the kernel takes as done. */
  async #complete({ outer, inner }: TrunkLinks, id: TrunkId, budget: Budget): Promise<void> {
    const alias = trunkTag(this.#owner, { ...id, link: 0 });
    const mtu = trunkMtu(id.frames);
    const whole = ({ index, name }: Link): NetlinkRequest[] => [
      asked(`tag ${name}`, changeLinkByName(name, { alias, isSilentIpv6: true })),
      asked(`set ${name} up`, changeLink({ index, mtu, isUp: true })),
    ];
    const [there] = await this.#programsOn([inner.index], budget);
    const program = { program: trunkProgram(), name: trunkProgramName };
    const { index, name } = inner;
    await this.#run(
      [
        ...hookRequests(index, there?.isOthers === true),
        asked(`put the trunk's program on ${name}`, setIngressProgram(index, program)),
        ...whole(inner),
        ...whole(outer),
      ],
      budget,
    );
  }

  /** What is in the place of our program on each of the links. */
  async #programsOn(indexes: readonly number[], budget: Budget): Promise<readonly FoundProgram[]> {
    const answers = await this.#run(indexes.map(filtersRequest), budget);
    return answers.map(programIn);
  }

  async #run(
    requests: readonly NetlinkRequest[],
    budget: Budget,
  ): Promise<readonly (readonly NetlinkMessage[])[]> {
    if (requests.length === 0) return [];
    const outcome = await this.#netlink.execute([{ protocol: 'route', requests }], budget);
    if (outcome.ok) return (outcome.answers[0] ?? []).map(({ messages }) => messages);
    const { code, what, found, remedy } = outcome.failure;
    throw new NsmError(code, `could not ${what}`, {
      rule: 'trunk',
      found,
      ...(remedy === undefined ? {} : { remedy }),
    });
  }

  #name(id: TrunkId, side: 'o' | 'i'): string {
    return trunkLinkName(this.#owner, id, side);
  }
}

/** Another trunk's program, which is known by its name, or none. */
function branchUndo(index: number, name: string | undefined): EncodedMessage {
  const inner = /^vwire trunk (\d+)$/.exec(name ?? '')?.[1];
  if (name === undefined || inner === undefined) return deleteIngressFilters(index);
  return setIngressProgram(index, { program: branchProgram(Number(inner)), name });
}

const asked = (
  what: string,
  message: EncodedMessage,
  tolerate: readonly number[] = [],
): NetlinkRequest => ({ what, message, tolerate });

const detaching = (index: number, message: EncodedMessage): NetlinkRequest =>
  asked(`take link ${index} off the trunk`, message, [
    errno.noEntry,
    errno.noDevice,
    errno.invalid,
  ]);

interface FoundProgram {
  /** Absent: it is none of ours. */
  readonly name?: string;
  readonly isOthers: boolean;
}

const filtersRequest = (index: number): NetlinkRequest =>
  asked(`list the filters of link ${index}`, dumpIngressFilters(index), [
    errno.noDevice,
    errno.invalid,
  ]);

function programIn(filters: readonly NetlinkMessage[]): FoundProgram {
  const [name] = filters.flatMap((message) => parseIngressProgram(message) ?? []);
  return name === undefined ? { isOthers: filters.length > 0 } : { name, isOthers: false };
}

function hookRequests(index: number, hasOthers: boolean): NetlinkRequest[] {
  const clear = asked(`clear the filters of link ${index}`, deleteIngressFilters(index), [
    errno.noEntry,
    errno.invalid,
  ]);
  const hook = asked(`add a filter hook to link ${index}`, addClsact(index), hookIsThere);
  return [...(hasOthers ? [clear] : []), hook];
}

function noneOfOthers(error: unknown): Partial<TrunkLinks> {
  if (asNsmError(error).code === 'FAILED_PRECONDITION') return {};
  throw error;
}

/** Two links that are each other's other side. */
function isPair(found: Partial<TrunkLinks>): found is TrunkLinks {
  const { outer, inner } = found;
  return outer !== undefined && inner !== undefined && outer.linkIndex === inner.index;
}

function foreign({ name, alias }: Link): NsmError {
  return new NsmError('FAILED_PRECONDITION', `the link ${name} is somebody else's`, {
    rule: 'trunk',
    expected: 'a link of this forwarder, or none',
    found: alias,
    remedy: `remove or rename ${name}`,
  });
}
