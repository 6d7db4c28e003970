// docs/benchmarks.md has more than one writer. Each owns what stands under its heading and keeps the rest: the
// benches from the top to the first section, every other command the section that bears its name.

/** The page with the section of this name, heading included, replaced or appended. */
export function withSection(page: string, name: string, section: string): string {
  const { start, end } = extentOf(page, name);
  const before = page.slice(0, start).trimEnd();
  const after = page.slice(end).trim();
  const parts = [before, `## ${name}\n\n${section.trim()}`, after];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

/** The page with all before its first section replaced. */
export function withTop(page: string, top: string): string {
  const first = page.search(/^## /m);
  const rest = first < 0 ? '' : page.slice(first);
  return rest === '' ? `${top.trimEnd()}\n` : `${top.trimEnd()}\n\n${rest}`;
}

function extentOf(page: string, name: string): { readonly start: number; readonly end: number } {
  const headings = [...page.matchAll(/^## (.*)$/gm)];
  const at = headings.findIndex(([, title]) => title === name);
  const start = headings[at]?.index;
  if (start === undefined) return { start: page.length, end: page.length };
  return { start, end: headings[at + 1]?.index ?? page.length };
}
