// Files by which a secret gets into another process that takes it by its path: VPP's IKEv2 reads keys no other way.

export interface KeyFiles {
  /**
   * Writes the text into a file that its owner alone can read, and takes it away again once `use` has ended, whatever
   * became of it. Errors: those of `use`; FAILED_PRECONDITION where no file can be written.
   */
  during<Result>(text: string, use: (path: string) => Promise<Result>): Promise<Result>;
}
