// `vwire nats-config FILE`: what nats-server needs to know of who may do what, from one description.

import { join, resolve } from 'node:path';
import { natsServerConfig } from '../../transports/nats/server-config.ts';
import { readBusDescription } from '../bus-file.ts';
import { loadCommonConfig } from '../config/load.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { readOperandFile } from './operand-file.ts';

const tlsDirDefault = '/etc/nats/tls';

export async function run(args: readonly string[]): Promise<number> {
  const { operands, options } = parseArguments('nats-config', args);
  const [file = ''] = operands;
  const { domain } = loadCommonConfig(process.env);
  const description = readBusDescription(await readOperandFile(file), file, domain);
  const tlsDir = absolute(options['tlsDir'] ?? tlsDirDefault);
  const { storeDir } = options;
  process.stdout.write(
    natsServerConfig(description, {
      files: {
        cert: join(tlsDir, 'cert.pem'),
        key: join(tlsDir, 'key.pem'),
        ca: join(tlsDir, 'ca.pem'),
      },
      ...(storeDir === undefined ? {} : { storeDir: absolute(storeDir) }),
    }),
  );
  return exitCodes.ok;
}

/** The server may be started elsewhere. */
const absolute = (path: string | true): string => resolve(String(path));
