import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SandboxOpener, type OpenerOptions } from '../../src/sandbox/lifecycle/opener.ts';
import type { SandboxRow } from '../../src/state/state.ts';
import { testConfig } from '../support/server.ts';

test('a sandbox of a template that was taken away is not started as one of another', async () => {
  const opener = new SandboxOpener({ config: testConfig() } as OpenerOptions);
  await assert.rejects(opener.open({ template: 'gone' } as SandboxRow, AbortSignal.timeout(1000)), {
    code: 'unsupported',
    message:
      'The template gone of this sandbox is no longer in the settings. Its files are kept: ask the operator to put the template back, or end the sandbox with end_sandbox.',
  });
});
