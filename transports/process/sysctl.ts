// Kernel settings of the process's own network namespace, as files below /proc/sys/net.

import { readFileSync, writeFileSync } from 'node:fs';
import { NsmError } from '../../protocols/errors.ts';
import type { Sysctl } from '../../protocols/ports/sysctl.ts';

export const systemSysctl: Sysctl = {
  set(name, value) {
    const file = `/proc/sys/net/${name}`;
    try {
      // Where it is so already no right to write is needed.
      if (readFileSync(file, 'utf8').trim() === value) return;
      writeFileSync(file, value);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const isAbsent = code === 'ENOENT';
      throw new NsmError(
        isAbsent ? 'NOT_FOUND' : 'PERMISSION_DENIED',
        `could not set ${file} to ${value}`,
        {
          rule: 'sysctl',
          found: code ?? String(error),
          expected: `the setting to be ${value}`,
          ...(isAbsent
            ? {}
            : { remedy: 'run it with CAP_NET_ADMIN in its namespace, and /proc/sys writable' }),
        },
      );
    }
  },
};
