import assert from 'node:assert/strict';
import test from 'node:test';
import { intercept, operations, type Ports } from '../../src/sandbox/intercept/intercept.ts';
import { observed } from '../../src/sandbox/intercept/observed.ts';
import type { Workspace } from '../../src/sandbox/ports/workspace.ts';

type Call = (...args: unknown[]) => Promise<unknown>;

const given = (method: string): unknown => {
  if (['read', 'archive', 'zip'].includes(method)) return new ReadableStream();
  return method === 'open' ? { stat: {}, tag: 't', read: () => new ReadableStream() } : method;
};

/** A workspace whose every operation notes what it was called with. */
function noting(calls: unknown[][]): Workspace {
  const port = (name: keyof Ports) =>
    Object.fromEntries(
      Object.keys(operations[name]).map((method) => [
        method,
        async (...args: unknown[]) => (calls.push([`${name}.${method}`, ...args]), given(method)),
      ]),
    );
  const ports = { shell: port('shell'), files: port('files'), terminals: port('terminals') };
  return { handle: 'box', ...ports, status: async () => (calls.push(['status']), {}) } as unknown as Workspace;
}

for (const [layer, over] of [
  ['a layer over nothing', (workspace: Workspace) => intercept(workspace, {})],
  ['an observer', (workspace: Workspace) => observed(workspace, () => () => {})],
] as const)
  test(`${layer} passes each operation on with every argument`, async () => {
    const calls: unknown[][] = [];
    const workspace = over(noting(calls));
    for (const [name, port] of Object.entries(operations))
      for (const [method, { body }] of Object.entries(port)) {
        const args = ['a', 'b', { uncounted: true }, 'd'].map((arg, at) => (at === body ? new ReadableStream() : arg));
        await (workspace[name as keyof Ports] as unknown as Record<string, Call>)[method]?.(...args);
        const seen = calls.pop()?.map((arg) => (arg instanceof ReadableStream ? 'stream' : arg));
        const sent = args.map((arg) => (arg instanceof ReadableStream ? 'stream' : arg));
        assert.deepEqual(seen, [`${name}.${method}`, ...sent]);
      }
    await workspace.status();
    assert.deepEqual(calls, [['status']]);
  });

test('a layer stands in for the operations that it names, and for no other', async () => {
  const calls: unknown[][] = [];
  const below = noting(calls);
  const { shell, files } = intercept(below, {
    shell: { run: (command, options) => below.shell.run(`checked ${command}`, options) },
  });
  await shell.run('ls');
  await files.list('.');
  assert.deepEqual(calls, [
    ['shell.run', 'checked ls', undefined],
    ['files.list', '.'],
  ]);
});
