// Writes the programs of dist/, each with all that it needs in a few files: a process that would read six hundred modules
// starts in half the time when it reads twenty. Run by itself, once the packages are there.
// Invariant: modules that find others by their place stand two folders below dist/, in the bundle as in the sources.

import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = join(root, 'dist');

/** What runs by itself, beside the roles and commands of the catalog. */
const programs = [
  'bin/vwire',
  'bin/library',
  'transports/netlink/link-events-worker',
  'transports/netlink/program-worker',
];
const chunksFolder = 'bin/chunks';
/** It finds its machine code beside its own files. */
const unbundled = ['koffi'];

const shared = { absWorkingDir: root, bundle: true, platform: 'node', format: 'esm' };

/** Roles and commands, as the catalog names them. */
async function namedPrograms() {
  const { outputFiles } = await build({
    ...shared,
    entryPoints: ['bin/commands/catalog.ts'],
    write: false,
  });
  const text = Buffer.from(outputFiles[0].contents).toString('base64');
  const { catalog } = await import(`data:text/javascript;base64,${text}`);
  return catalog.map(({ kind, name }) => `bin/${kind}s/${name}`);
}

async function bundle() {
  const { metafile } = await build({
    ...shared,
    entryPoints: [...programs, ...(await namedPrograms())].map((path) => `${path}.ts`),
    outbase: '.',
    outdir: 'dist',
    splitting: true,
    chunkNames: `${chunksFolder}/[name]-[hash]`,
    external: unbundled,
    target: 'node20',
    // Packages of the older kind ask for their parts at run time.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
    metafile: true,
    logLevel: 'warning',
  });
  removeOthers(new Set(Object.keys(metafile.outputs)));
  writeFileSync(join(dist, 'LICENSES'), licencesOf(Object.keys(metafile.inputs)));
}

/** Programs of earlier builds. */
function removeOthers(made) {
  for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    if (/\.js(\.map)?$/.test(name) && !made.has(`dist/${name}`)) rmSync(join(dist, name));
  }
}

/** Of every package of which something is in the bundle, in full. */
function licencesOf(inputs) {
  const packages = new Set(
    inputs.flatMap((path) => /^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
  );
  const texts = [...packages]
    .toSorted((left, right) => (left < right ? -1 : 1))
    .map((path) => {
      const { name, version, license } = JSON.parse(
        readFileSync(join(root, path, 'package.json'), 'utf8'),
      );
      const files = readdirSync(join(root, path)).filter((file) => /^licen[cs]e/i.test(file));
      const text = files.map((file) => readFileSync(join(root, path, file), 'utf8').trim());
      return [`${name} ${version}: ${license}`, ...text].join('\n\n');
    });
  return `${texts.join('\n\n----\n\n')}\n`;
}

await bundle();
