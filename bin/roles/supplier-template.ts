// The template of a supplier, read once at its start: a mistake in it is one of the configuration, and ends the role before
// anything is opened.

import { readFileSync } from 'node:fs';
import { describeError, NsmError } from '../../protocols/errors.ts';
import {
  type EndpointTemplate,
  endpointTemplateFrom,
} from '../../protocols/nsm/endpoint-template.ts';
import { ConfigError } from '../config/variables.ts';
import { readYamlDocument } from '../yaml-file.ts';

/** Throws a ConfigError that names the file and, where it can be read, the line. */
export function readSupplierTemplate(path: string): EndpointTemplate {
  try {
    const text = readFileSync(path, 'utf8');
    const document = readYamlDocument(text, { kind: 'template of Endpoints', name: path });
    return endpointTemplateFrom(document?.value, document?.positionOf ?? (() => undefined));
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    const why =
      thrown instanceof NsmError
        ? describeError(thrown)
        : `expected a YAML file with name, command, environment, namespace; found ${code}`;
    throw new ConfigError(
      `the configuration of supplier is wrong:\n  VWIRE_SUPPLIER_TEMPLATE ${path}: ${why}`,
    );
  }
}
