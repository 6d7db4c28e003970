// The configuration of a nats-server that proves who is on it: TLS with client certificates, each SPIFFE ID a user of its
// own with the rights of its roles (protocols/messages/bus-rights.ts), the domain an account of its own.
// A certificate is mapped by its URI; the subject, which all SVIDs of a SPIRE server share, is never a user here.

import {
  type BusDescription,
  busRightsOf,
  checkBusDescription,
} from '../../protocols/messages/bus-rights.ts';

export interface ServerFiles {
  /** PEM, leaf first. */
  readonly cert: string;
  readonly key: string;
  /** PEM, CAs of the trust domains whose workloads are users. */
  readonly ca: string;
}

export interface ServerConfigOptions {
  readonly files: ServerFiles;
  /**
   * Turns JetStream on, with its files below this folder. Not by the option `-js`: nats-server 2.9 turns it off again
   * when it reads its configuration anew.
   */
  readonly storeDir?: string;
}

/** Seconds: a loaded machine takes its time for a handshake. */
const handshakeTimeout = 10;

/** Errors: INVALID_ARGUMENT naming the user that is wrong. */
export function natsServerConfig(
  description: BusDescription,
  { files, storeDir }: ServerConfigOptions,
): string {
  checkBusDescription(description);
  const { domain } = description;
  const users = description.users.map((user) => {
    const { publish, subscribe } = busRightsOf(user, domain);
    return [
      `      # ${user.roles.join(', ')}`,
      `      { user: ${quoted(user.spiffeId)}, permissions: {`,
      `        publish: ${rights(publish)}`,
      `        subscribe: ${rights(subscribe)}`,
      '      } }',
    ].join('\n');
  });
  return `${[
    '# Who may do what on the bus, made by vwire; changes are lost.',
    'tls {',
    `  cert_file: ${quoted(files.cert)}`,
    `  key_file: ${quoted(files.key)}`,
    `  ca_file: ${quoted(files.ca)}`,
    '  verify_and_map: true',
    `  timeout: ${handshakeTimeout}`,
    '}',
    ...(storeDir === undefined ? [] : [`jetstream { store_dir: ${quoted(storeDir)} }`]),
    'accounts {',
    `  ${quoted(domain)}: {`,
    ...(storeDir === undefined ? [] : ['    jetstream: enabled']),
    '    users: [',
    ...users,
    '    ]',
    '  }',
    '}',
  ].join('\n')}\n`;
}

/** A list of none would leave the right open. */
const rights = (subjects: readonly string[]): string =>
  subjects.length === 0 ? '{ deny: ">" }' : `{ allow: [${subjects.map(quoted).join(', ')}] }`;

const quoted = (text: string): string => JSON.stringify(text);
