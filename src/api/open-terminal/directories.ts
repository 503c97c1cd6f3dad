/** Sandboxes whose directory is remembered; the oldest are forgotten. */
const most = 10_000;

interface Chosen {
  readonly directory: string;
  /** No command has begun there yet. */
  readonly pending: boolean;
}

/**
 * Where the file browser went, by sandbox: the next command begins there, once. The browser tells its directory at every
 * refresh, too; only another one than before is a wish.
 */
export class Directories {
  readonly #chosen = new Map<string, Chosen>();

  /** `current`: where the shell is. */
  choose(handle: string, directory: string, current: string): void {
    const before = this.#chosen.get(handle);
    if (before?.directory === directory) return;
    this.#chosen.delete(handle);
    this.#chosen.set(handle, { directory, pending: directory !== current });
    const [oldest] = this.#chosen.keys();
    if (this.#chosen.size > most && oldest !== undefined) this.#chosen.delete(oldest);
  }

  /** What `take` would give. */
  peek(handle: string): string | undefined {
    const chosen = this.#chosen.get(handle);
    return chosen?.pending ? chosen.directory : undefined;
  }

  take(handle: string): string | undefined {
    const directory = this.peek(handle);
    if (directory !== undefined) this.#chosen.set(handle, { directory, pending: false });
    return directory;
  }
}
