// What a caller on the bus is told whose message is no call that can be served here.

import { NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import { callHeader } from '../../protocols/messages/call-envelope.ts';
import { decodeToken } from '../../protocols/messages/subjects.ts';

export function forgedSeal(subject: string): NsmError {
  return new NsmError('UNAUTHENTICATED', 'the sender has not made this message', {
    rule: 'bus-seal',
    expected: 'a message as its sender sealed it, once, for this subject and its reply subject',
    found: `another one, or the same again, on ${readableSuffix(subject)}`,
  });
}

export function notACall(header: string, found: string | undefined): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the message is no call', {
    rule: header,
    expected: `a well-formed header ${header}`,
    found: found === undefined ? 'none' : JSON.stringify(found.slice(0, 200)),
  });
}

export function tooNew(version: number | undefined): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'the call was made by a newer version', {
    rule: callHeader,
    expected: `version ${formats.callEnvelope} or older`,
    found: `version ${version}`,
    remedy: 'start the newer component again, so that it asks anew which version is read here',
  });
}

export function unknownStream(): NsmError {
  return new NsmError('UNAVAILABLE', 'the stream is not open here', {
    rule: 'stream',
    remedy: 'open the stream again and resync',
  });
}

export function readableSuffix(suffix: string): string {
  return suffix
    .slice(0, 200)
    .split('.')
    .map((token) => decodeToken(token) ?? token)
    .join('/');
}
