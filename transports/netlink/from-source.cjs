// The program of a worker written in TypeScript, for when vwire runs from its sources (tests, development); the compiled
// package starts its workers by their files. Plain JavaScript, because nothing has been compiled when it runs. A loader
// for TypeScript in every worker would take six times as long to start as the worker itself.

const { fileURLToPath } = require('node:url');
const { buildSync } = require('esbuild');

const programs = new Map();

/** To be evaluated by the worker. Made once per process. */
exports.programOf = (url) => {
  const known = programs.get(url);
  if (known !== undefined) return known;
  const file = fileURLToPath(url);
  const { outputFiles } = buildSync({
    entryPoints: [file],
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'iife',
    target: 'node20',
    write: false,
    // Packages are looked for from where the source is, wherever the process was started.
    banner: { js: `require = require('node:module').createRequire(${JSON.stringify(file)});` },
  });
  programs.set(url, outputFiles[0].text);
  return outputFiles[0].text;
};
