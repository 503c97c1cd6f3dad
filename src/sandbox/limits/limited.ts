import { afterEnd } from '../shell/command-end.ts';
import type { FilesPort, ShellPort, TerminalsPort, Workspace } from '../workspace.ts';
import type { Limiter } from './limiter.ts';

/** The workspace within its principal's limits. */
export function limited(workspace: Workspace, limiter: Limiter, principal: string): Workspace {
  return {
    handle: workspace.handle,
    shell: limitedShell(workspace.shell, limiter, principal),
    files: limitedFiles(workspace.files, limiter, principal),
    terminals: limitedTerminals(workspace.terminals, limiter, principal),
    ports: workspace.ports,
    status: () => workspace.status(),
  };
}

function limitedShell(shell: ShellPort, limiter: Limiter, principal: string): ShellPort {
  return {
    async run(command, options) {
      const place = limiter.command(principal);
      let goesOn = false;
      try {
        const result = await shell.run(command, options);
        goesOn = result.status === 'running';
        if (goesOn) void afterEnd(shell, result.commandId, limiter.longestWait).then(() => place[Symbol.dispose]());
        return result;
      } finally {
        if (!goesOn) place[Symbol.dispose]();
      }
    },
    check: (id, options) => shell.check(id, options),
    stop: (id, signal) => shell.stop(id, signal),
    cwd: () => shell.cwd(),
    reset: () => shell.reset(),
  };
}

function limitedTerminals(terminals: TerminalsPort, limiter: Limiter, principal: string): TerminalsPort {
  return {
    async start(options) {
      using _opening = await limiter.terminal(principal);
      return await terminals.start(options);
    },
    send: (id, input) => terminals.send(id, input),
    read: (id, options) => terminals.read(id, options),
    resize: (id, cols, rows) => terminals.resize(id, cols, rows),
    list: () => terminals.list(),
    end: (id) => terminals.end(id),
    watch: (id, signal, options) => terminals.watch(id, signal, options),
  };
}

function limitedFiles(files: FilesPort, limiter: Limiter, principal: string): FilesPort {
  return {
    stat: (path, signal) => files.stat(path, signal),
    open: (path, signal) => files.open(path, signal),
    read: (path, options) => files.read(path, options),
    list: (path, options) => files.list(path, options),
    archive: (path, signal) => files.archive(path, signal),
    edit: (path, oldText, newText, options) => files.edit(path, oldText, newText, options),
    write: async (path, body, options) =>
      await files.write(path, counted(body, limiter.upload(principal, options?.size)), options),
    unpack: async (path, tar, signal) => await files.unpack(path, counted(tar, limiter.upload(principal)), signal),
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
