// Protects what a MEMIF mechanism says on the wire: the two forms of a socket, and that no name of one can smuggle an
// option into a data plane.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asNsmError } from '../../../protocols/errors.ts';
import {
  memifMechanism,
  memifSocketFile,
  readMemif,
} from '../../../protocols/nsm/memif-mechanism.ts';

const netns = 'inode://4/4026532';

describe('MEMIF', () => {
  it('has the class, the type and the keys of the reference, and leaves out what is not known', () => {
    expect(memifMechanism({ inodeUrl: netns, socketFile: '@a' })).toMatchObject({
      cls: 'LOCAL',
      type: 'MEMIF',
      parameters: { inodeURL: netns, socketfile: '@a' },
    });
    expect(memifMechanism({}).parameters).toEqual({});
  });

  it('is an abstract socket in a namespace, or a file', () => {
    const name = '@/tmp/memif/c/memif.socket';
    expect(readMemif(memifMechanism({ inodeUrl: netns, socketFile: name }))).toEqual({
      kind: 'abstract',
      name,
      netns,
    });
    const url = 'file:///run/memif.sock';
    expect(readMemif(memifMechanism({ inodeUrl: url }))).toEqual({ kind: 'file', url });
    expect(readMemif(memifMechanism({ inodeUrl: url, socketFile: '' }))).toEqual({
      kind: 'file',
      url,
    });
  });

  it('names the socket of a connection as the reference does, as long as the kernel allows', () => {
    fc.assert(
      fc.property(fc.uuid(), (id) => {
        const socketFile = memifSocketFile(id);
        expect(socketFile).toBe(`@/tmp/memif/${id}/memif.socket`);
        expect(readMemif(memifMechanism({ inodeUrl: netns, socketFile }))).toMatchObject({
          name: socketFile,
        });
      }),
    );
  });

  it('reads back every name that it takes, and takes none with a comma, a space or a control character', () => {
    const character = fc.nat({ max: 0x100 }).map((code) => String.fromCharCode(code));
    const nameOf = (socketFile: string): string | undefined => {
      try {
        const socket = readMemif(memifMechanism({ inodeUrl: netns, socketFile }));
        return socket.kind === 'abstract' ? socket.name : undefined;
      } catch (error) {
        return asNsmError(error).code;
      }
    };
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 120 }), (rest) => {
        const isGood = /^[\x21-\x2b\x2d-\x7e]{1,107}$/.test(rest);
        expect(nameOf(`@${rest}`)).toBe(isGood ? `@${rest}` : 'INVALID_ARGUMENT');
      }),
    );
  });

  it.each([
    ['inodeURL', { socketFile: '@a' }, 'nothing'],
    ['inodeURL', { inodeUrl: 'tcp://h:1', socketFile: '@a' }, 'tcp://h:1'],
    ['socketfile', { inodeUrl: netns, socketFile: 'no-at' }, 'no-at'],
    ['socketfile', { inodeUrl: netns, socketFile: '@' }, '"@"'],
    ['socketfile', { inodeUrl: netns, socketFile: '@a,netns_name=/x' }, 'netns_name'],
    ['socketfile', { inodeUrl: netns, socketFile: `@${'a'.repeat(108)}` }, '@aaa'],
  ])('refuses a bad %s, saying what it is: %j', (key, known, found) => {
    expect(() => readMemif(memifMechanism(known))).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({
          rule: `mechanism.parameters.${key}`,
          expected: expect.any(String),
          found: expect.stringContaining(found),
        }),
      }),
    );
  });
});
