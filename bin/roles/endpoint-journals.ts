// The journals of `vwire nse`. An Endpoint is an application first: where its state directory cannot be written it serves
// all the same and only forgets with its process, which it says. Two of one name in one directory are a mistake of whoever
// started them: the second one is refused, as it would take the first one's socket and connections.

import { describeError, NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { openJournal } from '../../transports/journal/journal.ts';

export interface EndpointJournalsSetup {
  readonly directory: string;
  /** Name of the Endpoint. */
  readonly name: string;
  readonly log: Log;
  readonly clock: Clock;
}

export interface EndpointJournals {
  readonly journal?: Journal;
  readonly leaseJournal?: Journal;
}

/** Either both, or, where the directory cannot be used, none. */
export async function openEndpointJournals(
  setup: EndpointJournalsSetup,
): Promise<EndpointJournals> {
  const { directory, name, log, clock } = setup;
  const open = (suffix: string): Promise<Journal> =>
    openJournal({ directory, name: `nse-${name}${suffix}`, fsync: 'interval', log, clock });
  let journal: Journal | undefined;
  try {
    journal = await open('');
    return { journal, leaseJournal: await open('-leases') };
  } catch (error) {
    await journal?.close();
    if (error instanceof NsmError && error.code === 'FAILED_PRECONDITION') {
      throw inUse(setup, error);
    }
    log.warn('serving without a journal: a restart of this process forgets its clients', {
      directory,
      error: describeError(error),
      remedy: 'let VWIRE_STATE_DIR name a directory that this user can write',
    });
    return {};
  }
}

/** As the journal refuses, which names the holder, or that its format is newer. */
function inUse({ name, directory }: EndpointJournalsSetup, cause: NsmError): NsmError {
  if (cause.details.rule !== 'journal-lock') return cause;
  return new NsmError('FAILED_PRECONDITION', `an Endpoint ${name} runs here already`, {
    rule: 'NSM_NAME',
    expected: `one process per name in the state directory ${directory}`,
    found: cause.message,
    remedy: 'stop the other one, or give this one another NSM_NAME or VWIRE_STATE_DIR',
    cause,
  });
}
