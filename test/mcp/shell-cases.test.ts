import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { shellCases } from '../contract/shell-cases.ts';
import { openSession } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';
import { expected, seen } from '../support/shell-steps.ts';

/** The shell's cases as a client has them: through the endpoint, a sandbox each. */

let server: ServerProcess;
before(async () => {
  server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base' });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

test('there are at least 120 cases, each with a name of its own', () => {
  assert.ok(shellCases.length >= 120, String(shellCases.length));
  assert.equal(new Set(shellCases.map(({ name }) => name)).size, shellCases.length);
});

describe('the shell through the endpoint', { concurrency: 4 }, () => {
  for (const { name, steps } of shellCases) {
    test(name, async () => {
      const session = await openSession({ mcp: `${server.url}/mcp` });
      for (const step of steps) {
        if (step.after !== undefined) await sleep(step.after * 1000);
        assert.deepEqual(await seen(session, step), expected(step), step.run.slice(0, 200));
      }
      assert.equal((await session.delete()).status, 200);
    });
  }
});

test('a shell that was started again is told of with what it keeps, and up to which size', async () => {
  const session = await openSession({ mcp: `${server.url}/mcp` });
  const { result } = await session.call('execute_command', { command: 'exit 5' });
  assert.match(
    result?.content?.[0]?.text ?? '',
    /the shell ended and was started again with its directory, and with its variables and functions as far as they fit in 1 MiB; shell_restarted\b/,
  );
  await session.delete();
});
