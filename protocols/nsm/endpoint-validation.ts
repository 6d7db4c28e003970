// What a registry server checks of services, endpoints and queries before anything acts on them: bounds on every text,
// list and map, and a name where something is registered. One clear INVALID_ARGUMENT each.

import { limits } from '../limits.ts';
import type { Match, NetworkService, NetworkServiceEndpoint } from './gen/registry_pb.ts';
import {
  checkCount,
  checkText,
  checkTextMap,
  checkTexts,
  checkTimestamp,
  invalid,
} from './validation.ts';

/** A service to register or unregister. Throws INVALID_ARGUMENT for the first thing that is wrong. */
export function validateService(service: NetworkService): void {
  checkNamed(service.name, 'network service');
  validateServiceQuery(service);
}

/** The service in a query: the same bounds, but everything may be left out. */
export function validateServiceQuery(service: NetworkService): void {
  checkText(service.name, limits.nameLength, 'name');
  checkText(service.payload, limits.nameLength, 'payload');
  checkPathIds(service.pathIds);
  checkCount(service.matches.length, limits.matches, 'matches');
  for (const [index, match] of service.matches.entries()) validateMatch(match, `matches[${index}]`);
}

function validateMatch(match: Match, where: string): void {
  checkTextMap(match.sourceSelector, `${where}.source_selector`);
  checkCount(match.routes.length, limits.routes, `${where}.routes`);
  for (const [index, route] of match.routes.entries()) {
    checkTextMap(route.destinationSelector, `${where}.routes[${index}].destination_selector`);
  }
  if (match.metadata !== undefined) checkTextMap(match.metadata.labels, `${where}.metadata.labels`);
}

/** An endpoint to register or unregister. Throws INVALID_ARGUMENT for the first thing that is wrong. */
export function validateEndpoint(endpoint: NetworkServiceEndpoint): void {
  checkNamed(endpoint.name, 'endpoint');
  validateEndpointQuery(endpoint);
}

/** The endpoint in a query: the same bounds, but everything may be left out. */
export function validateEndpointQuery(endpoint: NetworkServiceEndpoint): void {
  checkText(endpoint.name, limits.nameLength, 'name');
  checkText(endpoint.url, limits.urlLength, 'url');
  const bounds = { count: limits.servicesPerEndpoint, length: limits.nameLength };
  checkTexts(endpoint.networkServiceNames, bounds, 'network_service_names');
  const services = Object.keys(endpoint.networkServiceLabels);
  checkTexts(services, bounds, 'network_service_labels');
  for (const service of services) {
    const labels = endpoint.networkServiceLabels[service]?.labels;
    if (labels !== undefined) checkTextMap(labels, `network_service_labels.${service}.labels`);
  }
  checkTimestamp(endpoint.expirationTime, 'expiration_time');
  checkTimestamp(endpoint.initialRegistrationTime, 'initial_registration_time');
  checkPathIds(endpoint.pathIds);
}

function checkPathIds(pathIds: readonly string[]): void {
  checkTexts(pathIds, { count: limits.pathIds, length: limits.pathIdLength }, 'path_ids');
}

function checkNamed(name: string, what: string): void {
  if (name !== '') return;
  throw invalid(`the ${what} has no name`, {
    rule: 'name',
    expected: 'a name that is unique in its registry domain',
    found: 'an empty text',
    remedy: 'set NSM_NAME, for example to the name of the pod',
  });
}
