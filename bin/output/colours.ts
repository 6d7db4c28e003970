// Colours only where a person looks: on a terminal, and never against NO_COLOR (no-color.org: set and not empty).

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';

/** Select graphic rendition codes of ECMA-48. */
const codes: Readonly<Record<Colour, number>> = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };

export type Paint = (colour: Colour, text: string) => string;

/** What decides about colours; process.stdout and process.env as a rule. */
export interface Terminal {
  readonly isTTY?: boolean;
}

export function createPaint(
  terminal: Terminal,
  environment: Readonly<Record<string, string | undefined>>,
): Paint {
  const isColourful = terminal.isTTY === true && !environment['NO_COLOR'];
  return (colour, text) => (isColourful ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text);
}
