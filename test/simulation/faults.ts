// Carries out the operations of a plan on a simulated mesh, and takes back what lasts when its time is over.

import type { Part } from './part.ts';
import { type SimulatedMesh, type Node, ownerOf, registryPlace } from './mesh.ts';
import { faultyMs, type Operation, type Which } from './plan.ts';

type Of<Kind extends Operation['do']> = Extract<Operation, { readonly do: Kind }>;

export class Faults {
  readonly #mesh: SimulatedMesh;
  readonly #services: readonly string[];
  /** What still lasts, newest last. */
  readonly #takeBack = new Set<() => void>();
  #isOver = false;
  readonly #handlers: { readonly [Kind in Operation['do']]: (operation: Of<Kind>) => void } = {
    kill: (operation) => this.#kill(operation),
    restart: (operation) => this.#restart(operation),
    cut: (operation) => this.#cut(operation),
    disturb: (operation) => this.#disturb(operation),
    stepWall: (operation) => this.#stepWall(operation),
    dataplane: (operation) => this.#dataplane(operation),
    diskFull: (operation) => this.#diskFull(operation),
    harm: (operation) => this.#harm(operation),
    deafen: (operation) => this.#deafen(operation),
    loseStore: () => this.#loseStore(),
    reboot: (operation) => this.#reboot(operation),
    destroyPod: (operation) => this.#destroyPod(operation),
    closeClient: (operation) => this.#closeClient(operation),
    addClient: ({ node, service }) =>
      void this.#mesh.addClient(this.#node(node), this.#service(service)),
    addEndpoint: ({ node, service }) =>
      void this.#mesh.addEndpoint(this.#node(node), this.#service(service)),
  };

  constructor(mesh: SimulatedMesh, services: readonly string[]) {
    this.#mesh = mesh;
    this.#services = services;
  }

  apply(operation: Operation): void {
    const { atMs: _, ...what } = operation;
    this.#mesh.ground.trace.add(`FAULT ${JSON.stringify(what)}`);
    const handle = this.#handlers[operation.do] as (each: Operation) => void;
    handle(operation);
  }

  /** Everything that was cut is joined, whatever was down comes up. */
  end(): void {
    this.#isOver = true;
    for (const takeBack of this.#takeBack) takeBack();
    this.#takeBack.clear();
    const { registry, nodes, endpoints, clients } = this.#mesh;
    registry.start();
    for (const { manager, forwarders } of nodes) {
      manager.start();
      for (const { part } of forwarders) part.start();
    }
    for (const endpoint of endpoints) if (endpoint.isPodAlive) endpoint.part.start();
    for (const client of clients) if (client.wantsWire) client.part.start();
    for (const part of this.#mesh.parts) {
      if (part.life !== undefined) part.life.fuse = Number.POSITIVE_INFINITY;
    }
  }

  /** Takes it back after that time, or when the faults end. */
  #for(ms: number, takeBack: () => void): void {
    const once = (): void => {
      if (!this.#takeBack.delete(once)) return;
      takeBack();
    };
    this.#takeBack.add(once);
    this.#mesh.ground.time.after(ms, once);
  }

  #kill({ which, steps, ending, downMs }: Of<'kill'>): void {
    const part = this.#part(which);
    const life = part?.life;
    if (part === undefined || life === undefined || !life.isAlive) return;
    if (steps === 0) {
      part.kill(ending);
      this.#for(downMs, () => this.#startAgain(part));
      return;
    }
    life.fuse = steps;
    life.fuseEnding = ending;
    const { time } = this.#mesh.ground;
    const watch = (): void => {
      if (part.life !== life) return;
      if (!life.isAlive) this.#for(downMs, () => this.#startAgain(part));
      else if (!this.#isOver) time.after(100, watch);
    };
    time.after(100, watch);
  }

  #startAgain(part: Part): void {
    const client = this.#mesh.clients.find((each) => each.part === part);
    const endpoint = this.#mesh.endpoints.find((each) => each.part === part);
    if (client !== undefined && !client.wantsWire) return;
    if (endpoint !== undefined && !endpoint.isPodAlive) return;
    part.start();
  }

  #restart({ which, downMs }: Of<'restart'>): void {
    const part = this.#part(which);
    if (part === undefined || !part.isRunning) return;
    const client = this.#mesh.clients.find((each) => each.part === part);
    if (client !== undefined) {
      client.close(() => this.#for(downMs, () => client.isPodAlive && client.start()));
      return;
    }
    part.stop(() => this.#for(downMs, () => this.#startAgain(part)));
  }

  #closeClient({ index, backAfterMs }: Of<'closeClient'>): void {
    const client = at(this.#mesh.clients, index);
    if (client === undefined || !client.wantsWire || !client.part.isRunning) return;
    client.close(() => {
      if (backAfterMs > faultyMs / 4) return;
      this.#for(backAfterMs, () => client.isPodAlive && client.start());
    });
  }

  #destroyPod({ which }: Of<'destroyPod'>): void {
    const { clients, endpoints } = this.#mesh;
    if (which.kind === 'client') at(clients, which.index)?.destroyPod();
    else if (which.kind === 'endpoint') at(endpoints, which.index)?.destroyPod();
  }

  #harm({ node: index, part }: Of<'harm'>): void {
    const { world, forwarders } = this.#node(index);
    for (const owner of forwarders.map((each) => ownerOf(each.part.name))) {
      for (const id of world.wiresOf(owner).keys()) {
        if (part === 'joint') world.unjoin(owner, id);
        else world.deleteEnd(owner, id, 'endpoint');
      }
    }
  }

  #deafen({ index, forMs }: Of<'deafen'>): void {
    const endpoint = at(this.#mesh.endpoints, index);
    if (endpoint === undefined || endpoint.isDeaf) return;
    endpoint.isDeaf = true;
    this.#for(forMs, () => void (endpoint.isDeaf = false));
  }

  #loseStore(): void {
    const { bucket } = this.#mesh;
    bucket.entries.clear();
    bucket.revision = 0;
    for (const listener of bucket.listeners) listener({ kind: 'reset' });
  }

  #reboot({ node: index, downMs }: Of<'reboot'>): void {
    const node = this.#node(index);
    const { ground, endpoints, clients } = this.#mesh;
    const pods = [...endpoints, ...clients].filter((each) => each.node === node);
    for (const { part } of pods) part.life?.kill('silent');
    const own = [node.manager, ...node.forwarders.map(({ part }) => part)];
    for (const part of own) part.kill('silent');
    this.#mesh.reboot(node);
    for (const pod of pods) pod.onReboot();
    const place = ground.place(node.name);
    place.boot += 1;
    place.originMs = 1_000 - ground.time.nowMs();
    this.#for(downMs, () => {
      for (const part of own) part.start();
      for (const { part } of pods) this.#startAgain(part);
    });
  }

  #cut({ from, to, isOneWay, forMs }: Of<'cut'>): void {
    const { links, network } = this.#mesh.ground;
    const [here, there] = [this.#place(from), this.#place(to)];
    if (here === there) return;
    links.cut(here, there);
    if (!isOneWay) links.cut(there, here);
    network.linksChanged();
    this.#for(forMs, () => {
      links.join(here, there);
      if (!isOneWay) links.join(there, here);
    });
  }

  #disturb({ from, to, disturbance, forMs }: Of<'disturb'>): void {
    const { links } = this.#mesh.ground;
    const [here, there] = [this.#place(from), this.#place(to)];
    if (here === there) return;
    links.disturb(here, there, disturbance);
    links.disturb(there, here, disturbance);
    this.#for(forMs, () => {
      links.disturb(here, there, undefined);
      links.disturb(there, here, undefined);
    });
  }

  /** Set back by whoever notices, at the latest when the faults end. */
  #stepWall({ place, byMs, forMs }: Of<'stepWall'>): void {
    const stepped = this.#mesh.ground.place(this.#place(place));
    stepped.wallMs += byMs;
    this.#for(forMs, () => void (stepped.wallMs -= byMs));
  }

  #dataplane({ node: index, fault, chance, forMs }: Of<'dataplane'>): void {
    const node = this.#node(index);
    const { random } = this.#mesh.ground;
    if (fault === 'slow') {
      node.dataplaneDelayMs = () => (random.chance(chance) ? random.between(0, 20_000) : 0);
      this.#for(forMs, () => void (node.dataplaneDelayMs = () => 0));
      return;
    }
    node.dataplaneFault = () => {
      if (!random.chance(chance)) return undefined;
      if (fault === 'crash')
        this.#for(1_000, () => node.forwarders.forEach(({ part }) => this.#startAgain(part)));
      return fault;
    };
    this.#for(forMs, () => void (node.dataplaneFault = () => undefined));
  }

  #diskFull({ node, of, forMs }: Of<'diskFull'>): void {
    const { managerDisk, forwarders } = this.#node(node);
    const disks = of === 'manager' ? [managerDisk] : forwarders.map(({ disk }) => disk);
    for (const disk of disks) {
      disk.fullUntilMs = this.#mesh.ground.time.nowMs() + forMs;
      this.#for(forMs, () => void (disk.fullUntilMs = Number.NEGATIVE_INFINITY));
    }
  }

  #part(which: Which): Part | undefined {
    const { registry, nodes, endpoints, clients } = this.#mesh;
    switch (which.kind) {
      case 'registry':
        return registry;
      case 'manager':
        return at(nodes, which.index)?.manager;
      case 'forwarder': {
        // The first of each node, then the second ones.
        const each = [0, 1].flatMap((rank) =>
          nodes.flatMap(({ forwarders }) => forwarders[rank] ?? []),
        );
        return at(each, which.index)?.part;
      }
      case 'endpoint':
        return at(endpoints, which.index)?.part;
      case 'client':
        return at(clients, which.index)?.part;
    }
  }

  #node(index: number): Node {
    return at(this.#mesh.nodes, index) as Node;
  }

  #service(index: number): string {
    return at(this.#services, index) as string;
  }

  #place(index: number): string {
    return index < 0 ? registryPlace : this.#node(index).name;
  }
}

function at<T>(list: readonly T[], index: number): T | undefined {
  return list[index % list.length];
}
