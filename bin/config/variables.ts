// What a configuration variable is, and how a set of them becomes a typed configuration. All errors of a set are
// collected into one report. Invariant: a default is written as text and read by the same parser as a set value.

import type { Kind } from './kinds.ts';
import { nearestName } from '../commands/nearest-name.ts';

/** One variable. `T` is what the configuration holds for it. */
export interface Variable<T> {
  readonly name: string;
  readonly kind: Kind<NonNullable<T>>;
  /** Text of the default; undefined: the value is absent unless set. */
  readonly byDefault: string | undefined;
  readonly text: string;
}

export type Variables = Readonly<Record<string, Variable<unknown>>>;

/** The configuration that a set of variables gives. */
export type ConfigOf<V> = {
  readonly [K in keyof V]: V[K] extends Variable<infer T> ? T : never;
};

export function variable<T>(
  name: string,
  kind: Kind<T>,
  byDefault: string,
  about: string,
): Variable<T> {
  return { name, kind: kind as Kind<NonNullable<T>>, byDefault, text: about };
}

export function optionalVariable<T>(
  name: string,
  kind: Kind<T>,
  about: string,
): Variable<T | undefined> {
  return { name, kind: kind as Kind<NonNullable<T>>, byDefault: undefined, text: about };
}

/** Bad configuration: ends the program with exit code 64 before anything is opened. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** A value is shown shortened, so that a report stays readable. */
const shown = (value: string): string =>
  JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);

/**
 * Reads every variable of the set. Throws a ConfigError that lists each wrong one: name, what was expected, what was
 * found.
 */
export function readVariables<V extends Variables>(
  role: string,
  variables: V,
  environment: Environment,
): ConfigOf<V> {
  const problems: string[] = [];
  const entries = Object.entries(variables).map(([key, { name, kind, byDefault }]) => {
    const value = environment[name] ?? byDefault;
    if (value === undefined) return [key, undefined];
    const result = kind.schema.safeParse(value);
    if (!result.success) {
      const expected = result.error.issues[0]?.message ?? kind.expected;
      problems.push(`  ${name}: expected ${expected}; found ${shown(value)}`);
    }
    return [key, result.data];
  });
  if (problems.length > 0) {
    throw new ConfigError(`the configuration of ${role} is wrong:\n${problems.join('\n')}`);
  }
  return Object.fromEntries(entries) as ConfigOf<V>;
}

/** One warning per `NSM_` or `VWIRE_` variable that the role does not know, with the nearest name that it does. */
export function unknownVariables(
  role: string,
  known: readonly string[],
  environment: Environment,
): readonly string[] {
  return Object.keys(environment)
    .filter((name) => /^(NSM|VWIRE)_/.test(name) && !known.includes(name))
    .sort()
    .map((name) => {
      const near = nearestName(name, known);
      return `${name} is not known to ${role} and has no effect${near === undefined ? '' : `; did you mean ${near}?`}`;
    });
}
