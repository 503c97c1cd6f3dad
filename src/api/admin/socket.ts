import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';

/** Where the operator's commands reach the server that uses the state directory. */
export function adminSocket(directory: string): string {
  return join(directory, 'admin.sock');
}

/**
 * Listens where only the server's own user can connect. Whoever calls it holds the state directory, so that what is there
 * is a dead server's. Rejects with the system's error.
 */
export async function listenToOperator(directory: string, listener: RequestListener): Promise<AsyncDisposable> {
  const path = adminSocket(directory);
  const server = createServer(listener);
  rmSync(path, { force: true });
  const listening = once(server, 'listening');
  // The socket is made before `listen` returns: nobody else can connect in between.
  const mask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(mask);
  }
  await listening;
  return {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
