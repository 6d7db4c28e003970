// What a client asks for: `<mechanism>://<service>[@<domain>][/<interface>][?label=value&...]`, as in
// NSM_NETWORK_SERVICES and the pod annotation. The scheme in upper case is the mechanism type, its class is LOCAL.
// Invariant: what cannot be meant is refused here, with its place, before a Request is made of it.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { whyBadInterfaceName } from './interface-name.ts';
import { joinServiceName } from './service-name.ts';

export interface ServiceUrl {
  /** `KERNEL`, `MEMIF` and so on. */
  readonly mechanismType: string;
  /** `service` or `service@domain`. */
  readonly networkService: string;
  /** At most 15 bytes; undefined where the URL names none. */
  readonly interfaceName: string | undefined;
  /** Labels of the connection; a repeated key has its values joined with commas. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Half a character, which no encoding can carry on. */
const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;

/** Throws INVALID_ARGUMENT naming the part, its position, what is expected and what is there. */
export function parseServiceUrl(text: string): ServiceUrl {
  if (text.length > limits.urlLength) {
    throw refuse(text, 0, `at most ${limits.urlLength} characters`, `${text.length}`);
  }
  const surrogate = text.search(loneSurrogate);
  if (surrogate !== -1) {
    throw refuse(text, surrogate, 'well-formed text', JSON.stringify(text[surrogate]));
  }
  const separator = text.indexOf('://');
  const scheme = separator === -1 ? '' : text.slice(0, separator);
  if (!/^[A-Za-z][A-Za-z0-9+.-]*$/.test(scheme)) {
    throw refuse(text, 0, 'a mechanism and "://", for example kernel://', text.slice(0, 40));
  }
  const start = separator + 3;
  const fragment = text.indexOf('#', start);
  if (fragment !== -1) throw refuse(text, fragment, 'no fragment', text.slice(fragment));
  const question = text.indexOf('?', start);
  const end = question === -1 ? text.length : question;
  const slash = text.slice(start, end).indexOf('/');
  const authorityEnd = slash === -1 ? end : start + slash;
  return {
    mechanismType: scheme.toUpperCase(),
    networkService: readService(text, start, authorityEnd),
    interfaceName: readInterface(text, authorityEnd, end),
    labels: question === -1 ? {} : readLabels(text, question + 1),
  };
}

/** A comma-separated list; empty text is an empty list. A comma inside a label is written %2C. */
export function parseServiceUrls(text: string): readonly ServiceUrl[] {
  if (text.length > limits.configTextLength) {
    throw refuse(text, 0, `at most ${limits.configTextLength} characters`, `${text.length}`);
  }
  if (text.trim() === '') return [];
  return text.split(',').map((each) => parseServiceUrl(each.trim()));
}

/** The URL as text; `parseServiceUrl` reads the same back. */
export function formatServiceUrl(url: ServiceUrl): string {
  const at = url.networkService.indexOf('@');
  const service =
    at === -1
      ? encodeURIComponent(url.networkService)
      : `${encodeURIComponent(url.networkService.slice(0, at))}@${encodeDomain(url.networkService.slice(at + 1))}`;
  const path = url.interfaceName === undefined ? '' : `/${encodeURIComponent(url.interfaceName)}`;
  const query = Object.entries(url.labels).map(
    ([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`,
  );
  const suffix = query.length === 0 ? '' : `?${query.join('&')}`;
  return `${url.mechanismType.toLowerCase()}://${service}${path}${suffix}`;
}

/** A colon before a port stays readable. */
function encodeDomain(domain: string): string {
  return encodeURIComponent(domain).replaceAll('%3A', ':').replaceAll('%40', '@');
}

function readService(text: string, start: number, end: number): string {
  const authority = text.slice(start, end);
  const at = authority.indexOf('@');
  const targetEnd = at === -1 ? authority.length : at;
  const target = decode(text, start, start + targetEnd);
  const domain = at === -1 ? undefined : decode(text, start + at + 1, end);
  if (target === '' || domain === '') {
    const [position, what] = target === '' ? [start, 'service'] : [end, 'domain'];
    throw refuse(text, position, `a ${what} name`, 'nothing');
  }
  for (const [name, from] of [
    [target, start],
    [domain ?? '', start + targetEnd + 1],
  ] as const) {
    const bad = /[\s\p{Cc}/?#,]/u.exec(name)?.[0];
    if (bad !== undefined) {
      throw refuse(text, from, 'a name without space, "/", "?", "#" and ","', JSON.stringify(bad));
    }
  }
  if (target.includes('@')) throw refuse(text, start, 'a service name without "@"', target);
  const name = joinServiceName({ target, domain });
  if (name.length <= limits.nameLength) return name;
  throw refuse(text, start, `at most ${limits.nameLength} characters`, `${name.length}`);
}

/** The last element of the path; the reference ignores those before it, here they are refused. */
function readInterface(text: string, start: number, end: number): string | undefined {
  const path = text.slice(start, end);
  if (path === '' || path === '/') return undefined;
  if (path.indexOf('/', 1) !== -1) {
    throw refuse(text, start, 'one interface name behind the service', path);
  }
  const name = decode(text, start + 1, end);
  const why = whyBadInterfaceName(name);
  if (why === undefined) return name;
  throw refuse(
    text,
    start + 1,
    'an interface name of at most 15 bytes of printable ASCII without "/" and ":"',
    `${JSON.stringify(name.slice(0, 64))}: ${why}`,
  );
}

function readLabels(text: string, start: number): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  let position = start;
  for (const pair of text.slice(start).split('&')) {
    const equals = pair.indexOf('=');
    if (pair !== '') {
      const keyEnd = position + (equals === -1 ? pair.length : equals);
      const key = decode(text, position, keyEnd, true);
      const valueStart = Math.min(keyEnd + 1, position + pair.length);
      const value = decode(text, valueStart, position + pair.length, true);
      if (key === '') throw refuse(text, position, 'a label name before "="', pair.slice(0, 40));
      const before = labels.get(key);
      labels.set(key, before === undefined ? value : `${before},${value}`);
    }
    position += pair.length + 1;
  }
  if (labels.size > limits.mapEntries) {
    throw refuse(text, start, `at most ${limits.mapEntries} labels`, `${labels.size}`);
  }
  return Object.fromEntries(labels);
}

/** Percent-decoded text between two positions; in a query `+` is a space. */
function decode(text: string, start: number, end: number, isQuery = false): string {
  const raw = text.slice(start, end);
  try {
    return decodeURIComponent(isQuery ? raw.replaceAll('+', ' ') : raw);
  } catch {
    throw refuse(text, start, 'percent-encoded UTF-8 (%40 and the like)', raw.slice(0, 64));
  }
}

function refuse(text: string, position: number, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the requested service cannot be understood', {
    rule: `character ${position + 1} of ${JSON.stringify(text.slice(0, 200))}`,
    expected,
    found: found === '' ? 'nothing' : found.slice(0, 200),
    remedy: 'write kernel://service[@domain][/interface][?label=value&...]',
  });
}
