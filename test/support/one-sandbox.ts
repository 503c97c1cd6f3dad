import { AppError } from '../../src/errors.ts';
import type { Sandboxes } from '../../src/sandbox/sandboxes.ts';
import type { Workspace } from '../../src/sandbox/ports/workspace.ts';

const refuse = () => Promise.reject(new AppError('unsupported', 'There is one sandbox, and no more to it.'));

/** One sandbox of one principal, under its handle; a ledger of the leases on it. */
export function oneSandbox(workspace: Pick<Workspace, 'handle'> & Partial<Workspace>, owner = 'anonymous') {
  const sandboxes = {
    leases: 0,
    acquire: async ({ principal, scope }) => {
      const known = principal.id === owner && scope.kind === 'handle' && scope.id === workspace.handle;
      if (!known) throw new AppError('not_found', 'There is no such sandbox.');
      sandboxes.leases += 1;
      const release = async () => void (sandboxes.leases -= 1);
      return { workspace: workspace as Workspace, lost: [], [Symbol.asyncDispose]: release };
    },
    create: refuse,
    keep: refuse,
    list: async () => [],
    end: refuse,
    ownerOf: async () => undefined,
    status: async () => null,
    glance: () => null,
    has: () => true,
    recreate: refuse,
    detach: refuse,
    held: (handle) => {
      if (handle !== workspace.handle) return undefined;
      sandboxes.leases += 1;
      const release = async () => void (sandboxes.leases -= 1);
      return { workspace: workspace as Workspace, lost: [], [Symbol.asyncDispose]: release };
    },
    health: async () => ({ engine: null, sandboxes: { known: 1, running: 1, limit: 1 }, shellAlive: true }),
  } as Sandboxes & { leases: number };
  return sandboxes;
}
