// A setting that lives in a file and is followed while the role runs. Invariants: a missing file is the absent value;
// a file that cannot be read or understood leaves the last good value in force and is reported once per content.

import { describeError } from '../../protocols/errors.ts';
import { limits } from '../../protocols/limits.ts';
import type { PositionOf } from '../../protocols/nsm/document-reader.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { type FileNews, watchFile } from '../../transports/process/watched-file.ts';
import { readYamlDocument } from '../yaml-file.ts';

export interface FollowedFileSetup<Value> {
  readonly path: string;
  /** For log and errors: `excluded prefixes`. */
  readonly kind: string;
  readonly absent: Value;
  readonly read: (document: unknown, positionOf: PositionOf) => Value;
  readonly log: Log;
  readonly onChange?: (value: Value) => void;
}

export interface FollowedFile<Value> {
  readonly value: Value;
  stop(): void;
}

export function followFile<Value>(setup: FollowedFileSetup<Value>): FollowedFile<Value> {
  const { path: file, kind, absent, log } = setup;
  let value = absent;
  const take = (next: Value): void => {
    value = next;
    setup.onChange?.(next);
  };
  const listener = (news: FileNews): void => {
    try {
      if ('error' in news) throw news.error;
      take(news.text === undefined ? absent : readText(setup, news.text));
      log.info(news.text === undefined ? 'there is no file of a setting' : 'a setting was read', {
        kind,
        file,
      });
    } catch (error) {
      log.error('the file of a setting is not used, what was read before stays in force', {
        kind,
        file,
        error: describeError(error),
      });
    }
  };
  const watched = watchFile(file, { lengthMaxBytes: limits.documentLength }, listener);
  return {
    get value() {
      return value;
    },
    stop: () => watched.stop(),
  };
}

function readText<Value>(setup: FollowedFileSetup<Value>, text: string): Value {
  const document = readYamlDocument(text, { kind: `file of ${setup.kind}`, name: setup.path });
  if (document === undefined) return setup.absent;
  return setup.read(document.value, document.positionOf);
}
