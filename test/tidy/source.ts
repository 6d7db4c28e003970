// Reads a source file as far as the house rules need it: its imports, its header comment, and its code with
// comments and text literals blanked out. A scanner rather than a compiler, since the compiler in use offers no
// library. Invariant: `code` has the same length and line breaks as the text.

/** One import or re-export, or a dynamic import with a literal argument. */
export interface ImportLine {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

export interface Source {
  readonly text: string;
  /** The text with comments and the contents of text literals replaced by blanks. */
  readonly code: string;
  readonly imports: readonly ImportLine[];
  /** Lines of comment before the first line of code, a `#!` line not counted. */
  readonly headerLines: number;
}

// In this order: comments, simple literals, templates, regular expressions (only where an expression may begin).
const literals =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|\$\{[^}]*\}|[^`\\])*`|(?<=(?:^|[=(,:;!&|?{}[\n]|return)\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g;

const blank = (text: string): string => text.replace(/[^\n]/g, ' ');

/** Code inside `${}` of a template stays visible, since rules apply to it too. */
function blankTemplate(literal: string): string {
  return literal.replace(
    /(\$\{[^}]*\})|[^\n]/g,
    (part, inner: string | undefined) => inner ?? part.replace(/./, ' '),
  );
}

function blankLiterals(text: string): string {
  return text.replace(literals, (literal) =>
    literal.startsWith('`') ? blankTemplate(literal) : blank(literal),
  );
}

/** Simple literals stay, since they hold the specifiers. */
function keepSimpleLiterals(text: string): string {
  return text.replace(literals, (literal) => {
    if (literal.startsWith('`')) return blankTemplate(literal);
    return literal.startsWith('/') ? blank(literal) : literal;
  });
}

const importForms = [
  /^[ \t]*(?:import|export)\s+(type\s+)?(?:[\w*{][^;'"]*?\sfrom\s*)['"]([^'"\n]+)['"]/gm,
  /^[ \t]*import\s*()['"]([^'"\n]+)['"]/gm,
  /\bimport\(\s*()['"]([^'"\n]+)['"]/g,
];

function findImports(text: string): ImportLine[] {
  const visible = keepSimpleLiterals(text);
  return importForms.flatMap((form) =>
    [...visible.matchAll(form)].map((match) => ({
      specifier: match[2] ?? '',
      typeOnly: (match[1] ?? '') !== '',
      line: visible.slice(0, match.index).split('\n').length,
    })),
  );
}

function countHeaderLines(text: string): number {
  const body = text.replace(/^#!.*\n/, '');
  const header = /^(?:\/\/.*\n)+|^\/\*[\s\S]*?\*\//.exec(body)?.[0] ?? '';
  return header.trimEnd() === '' ? 0 : header.trimEnd().split('\n').length;
}

export function readSource(text: string): Source {
  return {
    text,
    code: blankLiterals(text),
    imports: findImports(text),
    headerLines: countHeaderLines(text),
  };
}
