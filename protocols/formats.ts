// The format of everything that one release leaves for another to read: on disk, in the kernel, in the shared store, on
// the bus. A release writes the number that stands here and reads it and every one before it; a newer one it refuses or
// leaves alone, and never deletes. A number is raised when an older reader would misunderstand what is written, not when
// something is added that it passes over. test/e2e/format-change.test.ts changes to a release with all of them raised.

export const formats = {
  /** The journal's file and the frame of its records. */
  journal: 1,
  /** What is in such records. */
  connectionRecord: 1,
  leaseRecord: 1,
  blockRecord: 1,
  suppliedRecord: 1,
  tunnelKeysRecord: 1,
  /** What replicas of an Endpoint tell each other through the shared store. */
  addressClaim: 1,
  /** Tags of kernel links; fields `i`, `f`, `w` and `e` mean the same in every version. */
  wireTag: 1,
  /** Lines of a call over the bus. */
  callEnvelope: 1,
  actorEnvelope: 1,
};
