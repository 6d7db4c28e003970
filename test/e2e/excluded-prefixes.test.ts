// Protects a node's own network from Endpoints: what the file of a running manager excludes is given to no new client, from
// the moment that the file says so, and is free again when it no longer does.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { containsAddress, parseCidr, parsePrefix } from '../../protocols/ipam/address.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import { addressesOf } from '../sandbox/mesh-probes.ts';

const directory = mkdtempSync(join(tmpdir(), 'vwire-excluded-'));
const file = join(directory, 'excluded_prefixes.yaml');

afterAll(() => rmSync(directory, { recursive: true }));

const isIn = (prefix: string, address: string): boolean => {
  const [of, at] = [parsePrefix(prefix), parseCidr(address)];
  return of !== undefined && at !== undefined && containsAddress(of, at.address);
};

describeMesh(
  'excluded prefixes',
  (mesh) => {
    test('are followed by a running manager', async () => {
      const { nodes, workloads } = mesh();
      const service = 'excluding';
      const cidr = [['172.16.1.0/24']];
      await workloads.endpoint({ node: nodes[0], services: [service], cidr });
      const given = async (): Promise<readonly string[]> => {
        const caller = await workloads.caller(nodes[0]);
        const connection = await caller.request({ service });
        const { client, endpoint } = addressesOf(connection);
        await caller.close(connection);
        return [...client, ...endpoint];
      };
      const away = async (prefix: string) =>
        eventually(`nothing of ${prefix} is given`, 20_000, async () =>
          expect((await given()).filter((each) => isIn(prefix, `${each}/32`))).toEqual([]),
        );

      expect((await given()).some((each) => isIn('172.16.1.0/28', `${each}/32`))).toBe(true);
      writeFileSync(file, 'prefixes: [172.16.1.0/28]\n');
      await away('172.16.1.0/28');
      writeFileSync(file, 'prefixes: [172.16.1.0/28, nonsense]\n');
      writeFileSync(file, 'prefixes: [172.16.1.0/27]\n');
      await away('172.16.1.0/27');
      rmSync(file);
      await eventually('all of it is given again', 20_000, async () =>
        expect((await given()).some((each) => isIn('172.16.1.0/27', `${each}/32`))).toBe(true),
      );
    }, 240_000);
  },
  { env: { VWIRE_EXCLUDED_PREFIXES_FILE: file } },
);
