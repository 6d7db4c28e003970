// Which of a client's labels can change the choice of an Endpoint: clients often carry a label of their own (a pod
// name), and two of them must share one remembered choice unless the service's matches look at that label.
// Invariant: errs only towards more labels; equal signatures mean equal choices.

import type { NetworkService } from '../../protocols/nsm/gen/registry_pb.ts';

type Labels = Readonly<Record<string, string>>;

export interface RelevantLabels {
  readonly keys: ReadonlySet<string>;
  /** Texts of templates; a key that occurs in one of them may be looked at. */
  readonly templates: readonly string[];
  /** The subset rule compares counts too: a label set smaller than the selector never fits. */
  readonly selectorSizeMax: number;
}

export function relevantLabels(service: NetworkService): RelevantLabels {
  const keys = new Set<string>();
  const templates: string[] = [];
  let selectorSizeMax = 0;
  for (const match of service.matches) {
    const sourceKeys = Object.keys(match.sourceSelector);
    for (const key of sourceKeys) keys.add(key);
    selectorSizeMax = Math.max(selectorSizeMax, sourceKeys.length);
    const selectors = [match.sourceSelector, ...match.routes.map((r) => r.destinationSelector)];
    for (const selector of selectors) {
      for (const text of Object.values(selector)) if (text.includes('{{')) templates.push(text);
    }
  }
  return { keys, templates, selectorSizeMax };
}

export function labelsSignature(relevant: RelevantLabels, labels: Labels): string {
  const { keys, templates, selectorSizeMax } = relevant;
  const all = Object.keys(labels);
  const used = all.filter((key) => keys.has(key) || templates.some((text) => mayUse(text, key)));
  const pairs = used.toSorted().map((key) => [key, labels[key]]);
  return JSON.stringify([Math.min(all.length, selectorSizeMax), pairs]);
}

/** An escape could spell a key in another way. */
function mayUse(template: string, key: string): boolean {
  return template.includes(key) || template.includes('\\');
}
