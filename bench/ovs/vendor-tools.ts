// Open vSwitch's own command line tools, as a person or a script uses them: one process per call.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { findOvsPrograms } from '../../transports/process/open-vswitch.ts';

export interface VendorTools {
  /** Returns when the switch has done it. */
  vsctl(...args: readonly string[]): void;
  ofctl(args: readonly string[], input?: string): void;
  /** False where it failed; it says nothing. */
  tryOfctl(args: readonly string[], input: string): boolean;
}

type ToolName = 'ovs-vsctl' | 'ovs-ofctl';

/** Where Debian's package has them, and where its libraries are when it was only unpacked. */
function find(name: ToolName): { readonly path: string; readonly libraries: string } | undefined {
  const programs = findOvsPrograms(process.env);
  if (typeof programs === 'string') return undefined;
  const unpacked = dirname(programs.ovsdbTool);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/sbin'];
  const path = [join(unpacked, 'usr/bin', name), ...folders.map((each) => join(each, name))].find(
    (each) => existsSync(each),
  );
  const libraries = join(unpacked, 'usr/lib', `${archName()}-linux-gnu`);
  return path === undefined ? undefined : { path, libraries };
}

const archName = (): string => (process.arch === 'arm64' ? 'aarch64' : 'x86_64');

export function whyNoVendorTools(): string | undefined {
  const missing = (['ovs-vsctl', 'ovs-ofctl'] as const).find((name) => find(name) === undefined);
  return missing === undefined ? undefined : `no ${missing}`;
}

/** `folder` holds the switch's sockets. */
export function vendorTools(folder: string): VendorTools {
  const call = (
    name: ToolName,
    args: readonly string[],
    { input, says = 'inherit' }: { input?: string; says?: 'inherit' | 'ignore' } = {},
  ): void => {
    const { path = name, libraries = '' } = find(name) ?? {};
    const places = [libraries, process.env['LD_LIBRARY_PATH'] ?? ''].filter((each) => each !== '');
    const env = { ...process.env, OVS_RUNDIR: folder, LD_LIBRARY_PATH: places.join(':') };
    execFileSync(path, [...args], { env, input, stdio: ['pipe', 'ignore', says] });
  };
  const ofctl = (args: readonly string[], input = '', says?: 'ignore'): void =>
    call('ovs-ofctl', ['-O', 'OpenFlow13', ...args], { input, ...(says && { says }) });
  return {
    vsctl: (...args) => call('ovs-vsctl', [`--db=unix:${join(folder, 'db.sock')}`, ...args]),
    ofctl,
    tryOfctl: (args, input) => {
      try {
        ofctl(args, input, 'ignore');
        return true;
      } catch {
        return false;
      }
    },
  };
}
