// Damage by hand to the objects of live wires in the nodes' namespaces: put back within 200 ms. A veth whose node-side
// link is deleted takes the client's end along; another is made with its name, MAC and addresses.

import type { ChaosCase } from '../case.ts';
import { deleteLinks, deleteRedirects, setLinksDown, taggedLinks } from '../damage.ts';
import type { DamagedLinks } from '../damage.ts';
import { monotonicMs } from '../probe.ts';
import { localAndRemote, nodeOf } from './wires.ts';

const windowMs = 3_000;
const quickWindowMs = 1_500;
const bound = { restored: { worst: 200 } };

type Act = typeof deleteLinks;

const damages: readonly (readonly [string, string, readonly DamagedLinks[], Act])[] = [
  ['client-link', "the clients' node-side links deleted", ['client'], deleteLinks],
  ['endpoint-link', "the Endpoints' node-side links deleted", ['endpoint'], deleteLinks],
  ['tunnel', 'tunnels deleted', ['tunnel'], deleteLinks],
  ['client-link-down', "the clients' node-side links set down", ['client'], setLinksDown],
  ['endpoint-link-down', "the Endpoints' node-side links set down", ['endpoint'], setLinksDown],
  ['tunnel-down', 'tunnels set down', ['tunnel'], setLinksDown],
  ['redirect', 'cross connects removed', ['client', 'endpoint', 'tunnel'], deleteRedirects],
];

export const damageCases: readonly ChaosCase[] = damages.map(
  ([name, title, which, act]): ChaosCase => ({
    name: `damage-${name}`,
    title: `by hand: ${title}`,
    windowMs,
    ...(name === 'redirect' ? { quickWindowMs } : {}),
    bound: name === 'client-link' ? { ...bound, interfaceMayBeNew: true } : bound,
    setUp: localAndRemote,
    async fault(scene) {
      const { netlink } = scene.stage;
      const nodes = [nodeOf(scene, 1), nodeOf(scene, 2)];
      const found = await Promise.all(
        nodes.map(async (node) => {
          const links = await Promise.all(which.map((each) => taggedLinks(netlink, node, each)));
          return [node, links.flat()] as const;
        }),
      );
      if (found.every(([, links]) => links.length === 0)) throw new Error('nothing to damage');
      const faultMs = monotonicMs();
      for (const [node, links] of found) if (links.length > 0) await act(netlink, node, links);
      return faultMs;
    },
  }),
);
