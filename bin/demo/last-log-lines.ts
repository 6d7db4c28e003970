// The last warnings and errors of every process, for the case that the demo fails: the state directory with the
// logs is removed, so what explains the failure is printed.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const linesPerFileMax = 3;

export function lastLogLines(stateDir: string): readonly string[] {
  return logFiles(stateDir).flatMap((file) => {
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => /"level":"(warn|error)"/.test(line) || /^\S*Error\b/.test(line));
    const name = file.slice(stateDir.length + 1);
    return lines.slice(-linesPerFileMax).map((line) => `${name}: ${line}`);
  });
}

function logFiles(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.log'))
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}
