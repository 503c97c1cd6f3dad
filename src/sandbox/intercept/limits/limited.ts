import { afterEnd } from '../../session/shell/command-end.ts';
import { detached } from '../../../lib/detached.ts';
import { intercept } from '../intercept.ts';
import { isOpen, type ShellPort, type Workspace } from '../../ports/workspace.ts';
import type { Limiter } from './limiter.ts';

/** The workspace within its principal's limits. */
export function limited(workspace: Workspace, limiter: Limiter, principal: string): Workspace {
  const { shell, files, terminals } = workspace;
  return intercept(workspace, {
    shell: { run: limitedRun(shell, limiter, principal) },
    terminals: {
      async start(options) {
        using _opening = await limiter.terminal(principal);
        return await terminals.start(options);
      },
    },
    files: {
      write: async (path, body, options) =>
        await files.write(path, counted(body, limiter.upload(principal, options?.size)), options),
      unpack: async (path, tar, signal) => await files.unpack(path, counted(tar, limiter.upload(principal)), signal),
    },
  });
}

function limitedRun(shell: ShellPort, limiter: Limiter, principal: string): ShellPort['run'] {
  return async (command, options) => {
    const place = limiter.command(principal);
    let goesOn = false;
    try {
      const result = await shell.run(command, options);
      goesOn = isOpen(result.status);
      if (goesOn) detached(afterEnd(shell, result.commandId, limiter.longestWait).then(() => place[Symbol.dispose]()));
      return result;
    } finally {
      if (!goesOn) place[Symbol.dispose]();
    }
  };
}

/** The stream, which errors where its bytes are too many. Reads nothing ahead. */
function counted(body: ReadableStream<Uint8Array>, count: (bytes: number) => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        try {
          count(value.byteLength);
        } catch (error) {
          await reader.cancel(error).catch(() => {});
          throw error;
        }
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
