// VPP for tests: its own process and folder, no service, and a network namespace where devices are made. Found by VWIRE_VPP
// or on PATH, its plugins beside it or by VWIRE_VPP_PLUGINS.
// Invariant: after `close` none of its processes, files and namespaces is left.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ApiCatalog } from '../../protocols/vpp/api-catalog.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import type { Spawn } from '../../transports/process/guarded-program.ts';
import {
  createPrivateVpp,
  findVpp,
  type PrivateVpp,
} from '../../transports/process/private-vpp.ts';
import { loadApiFolder } from '../../transports/vpp-api-client/api-folder.ts';
import type { Sandbox } from './namespaces.ts';
import { createSandbox, whyNoNamespaces } from './namespaces.ts';

export interface VppSandbox {
  readonly folder: string;
  readonly apiSocket: string;
  readonly statisticsSocket: string;
  /** After `kill`: with nothing left of what was made. */
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves once it is gone. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

export interface VppNodeSandbox {
  readonly vpp: PrivateVpp;
  readonly node: NetworkNamespace;
  readonly sandbox: Sandbox;
  close(): Promise<void>;
}

/** Undefined where VPP can be run; else the reason why not, for a printed skip. */
export function whyNoVpp(): string | undefined {
  const programs = findVpp(process.env);
  return typeof programs === 'string' ? programs : undefined;
}

/** As `whyNoVpp`, with namespaces for what it joins. */
export const whyNoVppNode = (): string | undefined => whyNoVpp() ?? whyNoNamespaces();

/** How many local wires a test makes at once. */
export const vppWireCount = Number(process.env['VWIRE_VPP_WIRES'] ?? 100);

let definitions: ApiCatalog | undefined;

/**
 * Of the VPP that is run, from its files where those are known; a VPP with small memory cannot say them to many clients.
 * Undefined: each client asks VPP.
 */
export function vppApi(): ApiCatalog | undefined {
  const programs = findVpp(process.env);
  const beside = typeof programs === 'string' ? '' : dirname(dirname(programs.vpp));
  const folder = process.env['VWIRE_VPP_API_DIR'] ?? join(beside, 'share/vpp/api');
  if (definitions === undefined && existsSync(folder)) definitions = loadApiFolder(folder);
  return definitions;
}

/** In the namespace of this process: for what touches no device. */
export async function startVpp(): Promise<VppSandbox> {
  const { vpp, folder, close } = await startPrivate();
  const { apiSocket, statisticsSocket } = vpp;
  return {
    folder,
    apiSocket,
    statisticsSocket,
    start: () => vpp.start(),
    signal: (signal) => void vpp.signal(signal),
    kill: () => vpp.signal('SIGKILL'),
    close,
  };
}

/** In a namespace of its own unless given one. */
export async function startVppNode(
  options: { readonly sandbox?: Sandbox; readonly node?: NetworkNamespace } = {},
): Promise<VppNodeSandbox> {
  const sandbox = options.sandbox ?? createSandbox();
  const node = options.node ?? sandbox.namespace();
  const closeSandbox = async (): Promise<void> => {
    if (options.sandbox === undefined) await sandbox.close();
  };
  try {
    const started = await startPrivate((command, args, how) =>
      spawnInNamespace(node.url, [command, ...args], how),
    );
    return {
      vpp: started.vpp,
      node,
      sandbox,
      async close() {
        await started.close();
        await closeSandbox();
      },
    };
  } catch (error) {
    await closeSandbox();
    throw error;
  }
}

async function startPrivate(spawn?: Spawn) {
  const programs = findVpp(process.env);
  if (typeof programs === 'string') throw new Error(programs);
  const folder = mkdtempSync(join(tmpdir(), 'vwvpp-'));
  const vpp = createPrivateVpp({ programs, folder, ...(spawn === undefined ? {} : { spawn }) });
  const close = async (): Promise<void> => {
    await vpp.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await vpp.start();
  } catch (error) {
    await close();
    throw error;
  }
  return { vpp, folder, close };
}
