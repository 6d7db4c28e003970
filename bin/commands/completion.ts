// `vwire completion bash|zsh`: a script generated from the catalog, so that it offers exactly what is accepted.

import { parseArguments } from './arguments.ts';
import { catalog, catalogNames, type CatalogRow, exitCodes } from './catalog.ts';

/** `-o, --output <format>` gives `-o` and `--output`. */
const optionNames = (flags: string): readonly string[] => flags.match(/-{1,2}[a-z][a-z-]*/g) ?? [];

const optionWords = (row: CatalogRow): string =>
  [...row.options.flatMap(({ flags }) => optionNames(flags)), '--help'].join(' ');

/** One `case` branch per option that takes one of a few words. */
function choiceBranches(row: CatalogRow): readonly string[] {
  return row.options
    .filter(({ choices }) => choices !== undefined)
    .map(
      ({ flags, choices = [] }) =>
        `      ${row.name}:${optionNames(flags).join(`|${row.name}:`)}) words="${choices.join(' ')}" ;;`,
    );
}

const wordBranches = (row: CatalogRow): string =>
  `        ${row.name}) words="${[...(row.operandChoices ?? []), optionWords(row)].join(' ')}" ;;`;

/** Bash itself needs no helper package for this; zsh runs the same function through bashcompinit. */
function bashScript(): string {
  const names = catalogNames.join(' ');
  return `_vwire() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="${names} help --help --version"
  elif [ "\${COMP_WORDS[1]}" = help ]; then
    words="${names}"
  else
    case "\${COMP_WORDS[1]}:$previous" in
${catalog.flatMap(choiceBranches).join('\n')}
      *) case "\${COMP_WORDS[1]}" in
${catalog.map(wordBranches).join('\n')}
      esac ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _vwire vwire
`;
}

export async function run(args: readonly string[]): Promise<number> {
  const [shell] = parseArguments('completion', args).operands;
  const prefix = shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : '';
  process.stdout.write(prefix + bashScript());
  return exitCodes.ok;
}
