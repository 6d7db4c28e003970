// Runs the child processes of the preparation: each with a title, a deadline and its output kept for the error
// message. Progress goes to stderr, and only for what takes longer than a second, so that stdout belongs to the
// command itself. Invariant: a step that is over its deadline is killed with all its children.

import { spawn } from 'node:child_process';

/** A failure that the reader can act on; shown without a stack. */
export class BootstrapError extends Error {}

const isTerminal = process.stderr.isTTY === true;
const seconds = (sinceMs) => `${((Date.now() - sinceMs) / 1000).toFixed(1)} s`;

function showProgress(title) {
  const startedMs = Date.now();
  let shown = false;
  const show = () => {
    if (isTerminal) process.stderr.write(`\r\x1b[K${title} … ${seconds(startedMs)}`);
    else if (!shown) process.stderr.write(`${title} …\n`);
    shown = true;
  };
  const timer = setInterval(show, isTerminal ? 1000 : 10_000);
  const first = setTimeout(show, 1000);
  return (outcome) => {
    clearInterval(timer);
    clearTimeout(first);
    if (!shown) return;
    process.stderr.write(
      `${isTerminal ? '\r\x1b[K' : ''}${title}: ${outcome}, ${seconds(startedMs)}\n`,
    );
  };
}

function killGroup(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}

/**
 * Runs a program and returns what it printed on stdout. Rejects with a BootstrapError that carries the last lines
 * of its output when it fails or is not done after `timeoutMs`.
 */
export async function runStep({ title, file, args, timeoutMs, cwd, env, quiet = false }) {
  const done = quiet ? () => {} : showProgress(title);
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const stopEarly = () => killGroup(child);
  process.once('exit', stopEarly);
  let stdout = '';
  let output = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    output = (output + chunk).slice(-20_000);
  });
  child.stderr.on('data', (chunk) => {
    output = (output + chunk).slice(-20_000);
  });
  const outcome = await new Promise((resolve) => {
    const deadline = setTimeout(() => {
      killGroup(child);
      resolve(`was not done after ${timeoutMs / 1000} s`);
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(deadline);
      resolve(error.code === 'ENOENT' ? `${file} is not installed` : error.message);
    });
    child.once('close', (code, signal) => {
      clearTimeout(deadline);
      resolve(code === 0 ? undefined : `ended with ${signal ?? `exit code ${code}`}`);
    });
  });
  process.removeListener('exit', stopEarly);
  done(outcome === undefined ? 'done' : 'failed');
  if (outcome === undefined) return stdout;
  const tail = output.trim().split('\n').slice(-30).join('\n');
  throw new BootstrapError(`${title}: ${file} ${outcome}${tail === '' ? '' : `\n${tail}`}`);
}
