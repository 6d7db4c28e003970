// Labels of clients and endpoints, and the rule by which a selector accepts them.
// Invariants: only own entries count (a label named `constructor` is a label like any other); an absent label reads as
// the empty text; an empty selector accepts everything, a selector with more entries than there are labels nothing.

export type Labels = Readonly<Record<string, string>>;

const noLabels: Labels = Object.freeze({});

/** The label, or the empty text where it is absent. */
export function labelOf(labels: Labels, key: string): string {
  // What objects have by themselves (constructor, __proto__) is never a text, so no own-property test is needed.
  const label: unknown = labels[key];
  return typeof label === 'string' ? label : '';
}

export function countLabels(labels: Labels): number {
  return Object.keys(labels).length;
}

/** The labels under `service` in an endpoint's `network_service_labels`; empty where it has none for it. */
export function labelsFor(
  byService: Readonly<Record<string, { readonly labels: Labels }>>,
  service: string,
): Labels {
  return byService[service]?.labels ?? noLabels;
}

/** A selector whose templates have been rendered, with its entries laid out for many comparisons. */
export interface Selector {
  readonly entries: readonly SelectorEntry[];
}

export interface SelectorEntry {
  readonly key: string;
  /** As written; equality with it counts even where it is a template. */
  readonly text: string;
  /** What the template renders to; the same as `text` where it is none. */
  readonly value: string;
}

/** True where every entry of the selector is met by the labels. */
export function accepts(selector: Selector, labels: Labels): boolean {
  const { entries } = selector;
  let present = 0;
  for (let at = 0; at < entries.length; at += 1) {
    const entry = entries[at];
    if (entry === undefined) continue;
    const label = labelOf(labels, entry.key);
    if (label !== entry.value && label !== entry.text) return false;
    if (label !== '') present += 1;
  }
  // Counting all labels is dear; it is needed only where an empty text may have stood for an absent label.
  return present === entries.length || countLabels(labels) >= entries.length;
}

/** Why `accepts` says no, for people; undefined where it says yes. */
export function whyRefused(selector: Selector, labels: Labels): string | undefined {
  for (const { key, text, value } of selector.entries) {
    const label = labelOf(labels, key);
    if (label === value || label === text) continue;
    const found = Object.hasOwn(labels, key) ? `is "${label}"` : 'is absent';
    const rendered = value === text ? '' : ` (from ${text})`;
    return `label ${key} ${found}, expected "${value}"${rendered}`;
  }
  const count = countLabels(labels);
  if (count >= selector.entries.length) return undefined;
  return `the selector has ${selector.entries.length} entries, more than the ${count} labels`;
}

/** True where `wanted` is contained in `labels` literally (no templates); used by Find queries. */
export function containsLabels(labels: Labels, wanted: Labels): boolean {
  for (const key of Object.keys(wanted)) {
    if (!Object.hasOwn(labels, key) || labels[key] !== wanted[key]) return false;
  }
  return true;
}
