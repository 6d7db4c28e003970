// Every message that is typed here, and the types by name. Messages that are not are as usable, with plain fields.

import type { Given, Received, Shapes } from '../message-shape.ts';
import type { VppFields } from '../values.ts';
import { cryptoDumps, cryptoEvents, cryptoRequests } from './crypto-messages.ts';
import { interfaceDumps, interfaceEvents, interfaceRequests } from './interface-messages.ts';
import { linkDumps, linkRequests } from './link-messages.ts';
import { switchingDumps, switchingRequests } from './switching-messages.ts';

export const knownRequests = {
  ...interfaceRequests,
  ...linkRequests,
  ...switchingRequests,
  ...cryptoRequests,
};
export const knownDumps = {
  ...interfaceDumps,
  ...linkDumps,
  ...switchingDumps,
  ...cryptoDumps,
};
export const knownEvents = { ...interfaceEvents, ...cryptoEvents };

type KnownRequests = typeof knownRequests;
type KnownDumps = typeof knownDumps;
type KnownEvents = typeof knownEvents;

/** Suggests the names that are typed, and takes any other. */
export type RequestName = keyof KnownRequests | (string & {});
export type DumpName = keyof KnownDumps | (string & {});
export type EventName = keyof KnownEvents | (string & {});

export type RequestFields<Name extends string> = Name extends keyof KnownRequests
  ? Given<KnownRequests[Name]['request']>
  : VppFields;

export type ReplyFields<Name extends string> = Name extends keyof KnownRequests
  ? Received<KnownRequests[Name]['reply']>
  : VppFields;

export type DumpFields<Name extends string> = Name extends keyof KnownDumps
  ? Given<KnownDumps[Name]['request']>
  : VppFields;

export type DetailsFields<Name extends string> = Name extends keyof KnownDumps
  ? Received<KnownDumps[Name]['details']['fields']>
  : VppFields;

export type EventFields<Name extends string> = Name extends keyof KnownEvents
  ? Received<KnownEvents[Name]>
  : VppFields;

export interface MessageShape {
  readonly message: string;
  readonly fields: Shapes;
}

/** The shapes of a request and of what answers it; none where the request is not typed. */
export function shapesAround(request: string): readonly MessageShape[] {
  const requests: Readonly<Record<string, { readonly request: Shapes; readonly reply: Shapes }>> =
    knownRequests;
  const dumps: Readonly<
    Record<string, { readonly request: Shapes; readonly details: MessageShape }>
  > = knownDumps;
  const known = requests[request];
  if (known !== undefined) {
    return [
      { message: request, fields: known.request },
      { message: `${request}_reply`, fields: known.reply },
    ];
  }
  const dump = dumps[request];
  return dump === undefined ? [] : [{ message: request, fields: dump.request }, dump.details];
}

export function eventShape(event: string): MessageShape | undefined {
  const events: Readonly<Record<string, Shapes>> = knownEvents;
  const fields = events[event];
  return fields === undefined ? undefined : { message: event, fields };
}
