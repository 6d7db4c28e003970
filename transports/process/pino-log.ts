// The log port on pino: JSON lines on stderr, one readable line each on a terminal. The level can be changed while
// the process runs, for all children at once. Invariant: every field and text passes through redact.ts.

import pino from 'pino';
import type { Log, LogFields } from '../../protocols/ports/log.ts';
import { redactFields, redactText } from './redact.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** Where lines go; called once per line, the line break included. */
export interface LogSink {
  write(line: string): void;
}

export interface ProcessLog {
  readonly log: Log;
  setLevel(level: LogLevel): void;
  /** Back to the level that the log was made with. */
  restoreLevel(): void;
}

export interface ProcessLogOptions {
  readonly level: LogLevel;
  /** Bound to every line. */
  readonly fields: LogFields;
  /** Stderr where absent, readable where that is a terminal. */
  readonly sink?: LogSink;
}

/** `12:30:01.250 info  wire made  id=nsc-0 ...` */
export function readableLine(json: string): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const shown = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${[clock, String(level).padEnd(5), String(msg), ...shown].join('  ')}\n`;
}

/** Written synchronously, so that the last lines before an exit are not lost. */
function stderrSink(): LogSink {
  const stderr = pino.destination({ dest: 2, sync: true });
  if (!process.stderr.isTTY) return stderr;
  return { write: (line) => void stderr.write(readableLine(line)) };
}

export function createProcessLog(options: ProcessLogOptions): ProcessLog {
  const logger = pino(
    {
      // The level is decided below, for all children at once; pino itself lets everything through.
      level: 'trace',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.sink ?? stderrSink(),
  );
  let threshold = pino.levels.values[options.level] ?? 0;
  const setLevel = (level: LogLevel): void => {
    threshold = pino.levels.values[level] ?? 0;
  };
  const bind = (bound: LogFields): Log => {
    const write = (level: Exclude<LogLevel, 'trace'>) => (message: string, fields?: LogFields) => {
      if ((pino.levels.values[level] ?? 0) < threshold) return;
      logger[level](redactFields({ ...bound, ...fields }), redactText(message));
    };
    return {
      error: write('error'),
      warn: write('warn'),
      info: write('info'),
      debug: write('debug'),
      child: (fields) => bind({ ...bound, ...fields }),
    };
  };
  return { log: bind(options.fields), setLevel, restoreLevel: () => setLevel(options.level) };
}

/** As in the reference: SIGUSR1 sets the level to trace, SIGUSR2 restores it. Returns what undoes it. */
export function changeLevelOnSignals(processLog: ProcessLog): () => void {
  const raise = () => processLog.setLevel('trace');
  const restore = () => processLog.restoreLevel();
  process.on('SIGUSR1', raise).on('SIGUSR2', restore);
  return () => {
    process.off('SIGUSR1', raise).off('SIGUSR2', restore);
  };
}
