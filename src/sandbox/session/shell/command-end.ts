import { isOpen, type CommandPage, type ShellPort } from '../../ports/workspace.ts';

/** Beyond all output, so that only the command's end is news. */
const beyond = Number.MAX_SAFE_INTEGER;

/** The command as it ended; `undefined` when nothing more can be known of it. `wait` in seconds, as long as is allowed. */
export async function afterEnd(shell: ShellPort, commandId: string, wait: number): Promise<CommandPage | undefined> {
  try {
    for (;;) {
      const began = performance.now();
      const page = await shell.check(commandId, { offset: beyond, errOffset: beyond, wait });
      if (!isOpen(page.status)) return page;
      // An answer before its time without an end means that the server lets go.
      if (performance.now() - began < wait * 900) return undefined;
    }
  } catch {
    // The sandbox or the command is gone.
    return undefined;
  }
}
