import { createHash } from 'node:crypto';
import { createFiles } from '../../src/sandbox/files/files.ts';
import type { Container } from '../../src/sandbox/ports/runtime.ts';
import type { FilesPort } from '../../src/sandbox/ports/workspace.ts';
import { specOf } from './docker-runtime.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { oneSandbox } from './one-sandbox.ts';
import { run } from './run.ts';
import { startServer } from './server.ts';

export interface FilesServer extends AsyncDisposable {
  readonly url: string;
  /** `…/sandboxes/sb-1/files/` */
  readonly base: string;
  /** Where relative paths lead. */
  readonly root: string;
  readonly files: FilesPort;
  readonly container: Container;
  /** Leases taken and not given back. */
  leases(): number;
  /** Every name below the workspace. */
  names(): Promise<string[]>;
}

/** The application over one sandbox, `sb-1` of the key `ann`, whose files are local. */
export async function startFilesServer(server: Record<string, unknown> = {}): Promise<FilesServer> {
  const stack = new AsyncDisposableStack();
  const runtime = stack.use(new FakeRuntime());
  const container = await runtime.open(specOf('files'));
  const root = (await run(container, ['pwd'], { cwd: '/workspace' })).stdout.trim();
  const files = createFiles(container, { root, bash: '/bin/bash' });
  const sandboxes = oneSandbox({ handle: 'sb-1', files }, annId);
  const keys = 'ann=ann-key-0123456789,bob=bob-key-0123456789';
  const app = stack.use(await startServer({ sandboxes, config: { server, auth: { mode: 'keys', keys } } }));
  return {
    url: app.url,
    base: `${app.url}/sandboxes/sb-1/files/`,
    root,
    files,
    container,
    leases: () => sandboxes.leases,
    names: async () => (await files.list('.', { depth: 9 })).entries.map(({ path }) => path),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export const ann = { authorization: 'Bearer ann-key-0123456789' };
/** The principal that `ann` is. */
export const annId = `key:${createHash('sha256').update('ann-key-0123456789').digest('hex').slice(0, 32)}`;
export const bob = { authorization: 'Bearer bob-key-0123456789' };
