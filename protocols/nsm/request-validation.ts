// What a NetworkService server checks of an incoming message before anything acts on it: bounds on every text, list and
// map, a path that stands on one of its segments, addresses that are addresses. One clear INVALID_ARGUMENT each.

import { limits } from '../limits.ts';
import { validateContext } from './context-validation.ts';
import {
  type Connection,
  type Mechanism,
  type MonitorScopeSelector,
  State,
} from './gen/connection_pb.ts';
import type { NetworkServiceRequest } from './gen/networkservice_pb.ts';
import { validatePath, validateSegment } from './path.ts';
import {
  checkCount,
  checkText,
  checkTextMap,
  checkTexts,
  checkTimestamp,
  invalid,
} from './validation.ts';

/** Throws INVALID_ARGUMENT for the first thing that is wrong. A request without a connection is valid. */
export function validateRequest(request: NetworkServiceRequest): void {
  if (request.connection !== undefined) validateConnection(request.connection);
  const preferences = request.mechanismPreferences;
  checkCount(preferences.length, limits.mechanismPreferences, 'mechanism_preferences');
  for (let index = 0; index < preferences.length; index += 1) {
    const preference = preferences[index];
    if (preference !== undefined) {
      validateMechanism(preference, `mechanism_preferences[${index}]`);
    }
  }
}

/** The same for what Close carries, and for what an answer or a monitor event holds. */
export function validateConnection(connection: Connection): void {
  validatePath(connection);
  const segments = connection.path?.pathSegments ?? [];
  for (let index = 0; index < segments.length; index += 1) {
    const segment = segments[index];
    if (segment === undefined) continue;
    checkTimestamp(segment.expires, `connection.path.path_segments[${index}].expires`);
    checkTextMap(segment.metrics, `connection.path.path_segments[${index}].metrics`);
  }
  checkText(connection.networkService, limits.nameLength, 'connection.network_service');
  const endpoint = connection.networkServiceEndpointName;
  checkText(endpoint, limits.nameLength, 'connection.network_service_endpoint_name');
  checkText(connection.payload, limits.nameLength, 'connection.payload');
  checkTextMap(connection.labels, 'connection.labels');
  checkState(connection.state);
  if (connection.mechanism !== undefined) {
    validateMechanism(connection.mechanism, 'connection.mechanism');
  }
  if (connection.context !== undefined) validateContext(connection.context, 'connection.context');
}

function validateMechanism(mechanism: Mechanism, where: string): void {
  checkText(mechanism.cls, limits.nameLength, `${where}.cls`);
  checkText(mechanism.type, limits.nameLength, `${where}.type`);
  checkTextMap(mechanism.parameters, `${where}.parameters`);
}

function checkState(state: number): void {
  if (state >= State.UP && state <= State.RESELECT_REQUESTED) return;
  throw invalid('the connection is in a state that nobody knows', {
    rule: 'connection.state',
    expected: 'UP 0, DOWN 1, REFRESH_REQUESTED 2 or RESELECT_REQUESTED 3',
    found: `${state}`,
  });
}

/** Bounds on what a subscriber of MonitorConnections selects by. */
export function validateMonitorSelector(selector: MonitorScopeSelector): void {
  checkCount(selector.pathSegments.length, limits.pathSegments, 'path_segments');
  for (const [index, segment] of selector.pathSegments.entries()) {
    validateSegment(segment, `path_segments[${index}]`);
    checkTextMap(segment.metrics, `path_segments[${index}].metrics`);
  }
  const bounds = { count: limits.servicesPerEndpoint, length: limits.nameLength };
  checkTexts(selector.networkServices, bounds, 'network_services');
}
