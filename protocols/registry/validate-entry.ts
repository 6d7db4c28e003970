// What a registry accepts. Every refusal says which field, what was expected and what was found.

import { toBinary } from '@bufbuild/protobuf';
import { NsmError } from '../errors.ts';
import { timestampToEpochMs } from '../nsm/expiry.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../nsm/gen/registry_pb.ts';

/** A name becomes a key of the store; NATS bounds a subject by its control line of 4,096 bytes. */
export const nameLengthMax = 1_024;
export const serviceNamesMax = 1_000;
/** An entry must fit into one NATS message (1 MiB by default) with room to spare. */
export const entryBytesMax = 256 * 1024;

export function checkName(what: string, name: string): void {
  if (name === '') {
    throw invalid(`${what} is empty`, { rule: what, expected: 'a name', found: 'an empty string' });
  }
  if (name.length > nameLengthMax) {
    throw invalid(`${what} is too long`, {
      rule: what,
      expected: `at most ${nameLengthMax} characters`,
      found: `${name.length} characters`,
    });
  }
}

/** Returns the encoded entry. Errors: INVALID_ARGUMENT. */
export function checkService(service: NetworkService): Uint8Array {
  checkName('network_service.name', service.name);
  return encoded('network_service', toBinary(NetworkServiceSchema, service));
}

/** Errors: INVALID_ARGUMENT. */
export function checkEndpoint(endpoint: NetworkServiceEndpoint, nowEpochMs: number): void {
  checkName('network_service_endpoint.name', endpoint.name);
  const services = endpoint.networkServiceNames;
  if (services.length > serviceNamesMax) {
    throw invalid('the endpoint lists too many services', {
      rule: 'network_service_names',
      expected: `at most ${serviceNamesMax}`,
      found: `${services.length}`,
    });
  }
  for (const service of services) checkName('network_service_names', service);
  const expires = endpoint.expirationTime;
  if (expires !== undefined && timestampToEpochMs(expires) <= nowEpochMs) {
    throw invalid('the endpoint has expired before it is registered', {
      rule: 'expiration_time',
      expected: 'a time to come, or none',
      found: `${Math.round(nowEpochMs - timestampToEpochMs(expires))} ms ago by this clock`,
      remedy: 'synchronise the clocks of both machines, or register without expiration_time',
    });
  }
}

export function encodeEndpoint(endpoint: NetworkServiceEndpoint): Uint8Array {
  return encoded('network_service_endpoint', toBinary(NetworkServiceEndpointSchema, endpoint));
}

function encoded(what: string, bytes: Uint8Array): Uint8Array {
  if (bytes.length <= entryBytesMax) return bytes;
  throw invalid(`${what} is too large`, {
    rule: what,
    expected: `at most ${entryBytesMax} bytes`,
    found: `${bytes.length} bytes`,
  });
}

function invalid(message: string, details: ConstructorParameters<typeof NsmError>[2]): NsmError {
  return new NsmError('INVALID_ARGUMENT', message, details);
}
