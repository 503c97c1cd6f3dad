import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Runtime } from '../../src/sandbox/runtime.ts';
import type { CommandResult, Output } from '../../src/sandbox/workspace.ts';
import { newInstance, sweep, testRuntime } from '../support/docker-runtime.ts';
import { shellSandbox } from '../support/shell-sandbox.ts';
import { shellCases, type ShellStep } from './shell-cases.ts';

const instance = newInstance();
let runtime: Runtime;

before(() => {
  runtime = testRuntime({ instance });
});

after(async () => {
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

/** Text where the bytes are text, hex elsewhere, so that a difference can be read. */
function readable(bytes: Uint8Array | string): string {
  const buffer = Buffer.from(bytes);
  const text = buffer.toString();
  return Buffer.from(text).equals(buffer) ? text : buffer.toString('hex');
}

function shown({ head, tail }: Output): string {
  return readable(Buffer.concat([head, tail]));
}

function expected(step: ShellStep) {
  const code = step.code === undefined ? 0 : step.code;
  return {
    status: step.status ?? (code === 0 ? 'success' : 'error'),
    code,
    out: readable(step.out ?? ''),
    err: readable(step.err ?? ''),
    restarted: step.restarted ?? false,
    background: step.background ?? false,
    cwd: step.cwd,
    omitted: step.omitted ?? 0,
  };
}

function seen(result: CommandResult, step: ShellStep): ReturnType<typeof expected> {
  return {
    status: result.status as 'timeout',
    code: result.exitCode,
    out: shown(result.stdout),
    err: shown(result.stderr),
    restarted: result.shellRestarted,
    background: result.background,
    cwd: step.cwd === undefined ? undefined : result.cwd,
    omitted: step.omitted === undefined || step.omitted >= 0 ? result.stdout.omitted : step.omitted,
  };
}

describe('the shell', { concurrency: 4 }, () => {
  for (const { name, steps } of shellCases) {
    test(name, async () => {
      await using sandbox = await shellSandbox(runtime);
      for (const step of steps) {
        if (step.after !== undefined) await sleep(step.after * 1000);
        const result = await sandbox.host.shell.run(step.run, { timeout: step.timeout ?? 20 });
        assert.deepEqual(seen(result, step), expected(step), step.run.slice(0, 200));
      }
    });
  }
});

test('there are at least 120 cases, each with a name of its own', () => {
  assert.ok(shellCases.length >= 120, String(shellCases.length));
  assert.equal(new Set(shellCases.map(({ name }) => name)).size, shellCases.length);
});
