import type { Live } from '../../lifecycle/live.ts';
import type { SandboxRow } from '../../../state/state.ts';
import type { TerminalsPort, Workspace } from '../../ports/workspace.ts';

/** How many terminals are open, seen past the decorators, so that counting them is nobody's call. */
export class OpenTerminals {
  readonly #behind = new WeakMap<Workspace, TerminalsPort>();

  /** `outer` is what callers get, `inner` what is behind it. */
  enroll(outer: Workspace, inner: Workspace): void {
    this.#behind.set(outer, inner.terminals);
  }

  async count(
    running: readonly { readonly row: SandboxRow; readonly live: Live }[],
    principal: string,
  ): Promise<{ own: number; all: number }> {
    const counts = await Promise.all(
      running.map(async ({ row, live }) => {
        const terminals = await this.#behind.get(live.workspace)?.list();
        return { own: row.principal === principal, open: terminals?.filter(({ exited }) => !exited).length ?? 0 };
      }),
    );
    const sum = (some: typeof counts) => some.reduce((total, { open }) => total + open, 0);
    return { own: sum(counts.filter(({ own }) => own)), all: sum(counts) };
  }
}
