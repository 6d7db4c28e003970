// Which network namespace a URL leads to. NSM names namespaces by inode, and Linux gives the number of one that has ended
// to the next one that is made, as a rule at once: the same URL leads to a stranger then.

export interface Namespaces {
  /**
   * Differs from that of any other namespace of this machine, ended ones and other boots included. Undefined where the kernel
   * does not tell. Throws NOT_FOUND where the URL leads nowhere.
   */
  identityOf(url: string): string | undefined;
}
