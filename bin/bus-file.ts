// A description of who may do what on the bus, as a file.

import { readFileSync } from 'node:fs';
import { NsmError } from '../protocols/errors.ts';
import { busDescriptionFrom } from '../protocols/messages/bus-description-document.ts';
import type { BusDescription } from '../protocols/messages/bus-rights.ts';
import { readYamlDocument } from './yaml-file.ts';

/** `domain`: where it names none. Errors: INVALID_ARGUMENT with the line. */
export function readBusDescription(text: string, name: string, domain: string): BusDescription {
  const document = readYamlDocument(text, { kind: 'description of the bus', name });
  if (document === undefined) return { domain, users: [] };
  return busDescriptionFrom(document.value, document.positionOf, { domain });
}

/** Errors: NOT_FOUND, INVALID_ARGUMENT. */
export function readBusFile(path: string, domain: string): BusDescription {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new NsmError('NOT_FOUND', `cannot read ${path}`, {
      rule: 'VWIRE_BUS_FILE',
      expected: 'a readable YAML file',
      found: (cause as NodeJS.ErrnoException).code ?? String(cause),
      cause,
    });
  }
  return readBusDescription(text, path, domain);
}
