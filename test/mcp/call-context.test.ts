import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { AppError } from '../../src/errors.ts';
import { audited, type AuditFields } from '../../src/sandbox/intercept/audit/audit.ts';
import { callContext } from '../../src/sandbox/call-context.ts';
import type { SandboxStatus, TerminalsPort } from '../../src/sandbox/ports/workspace.ts';
import { FakeWorkspace } from '../support/fake-workspace.ts';
import { ann, annId } from '../support/files-server.ts';
import { oneSandbox } from '../support/one-sandbox.ts';
import { startServer } from '../support/server.ts';

test('audit lines of files and live terminals say which request they belong to', async () => {
  const lines: AuditFields[] = [];
  const secrets: (readonly string[] | undefined)[] = [];
  const sink = {
    write: async (fields: AuditFields) => {
      lines.push(fields);
      secrets.push(callContext()?.secrets);
    },
  };
  const inner = new FakeWorkspace('sb-1', () => ({}) as SandboxStatus);
  const watch = async () => Promise.reject(new AppError('not_found', 'There is no such terminal.'));
  const workspace = {
    handle: 'sb-1',
    shell: inner.shell,
    files: inner.files,
    terminals: { watch } as unknown as TerminalsPort,
    ports: inner.ports,
  };
  const subject = { sandbox: 'sb-1', principal: 'p', key: 'k' };
  const sandboxes = oneSandbox(audited({ ...workspace, status: () => inner.status() }, sink, subject), annId);
  const config = { auth: { mode: 'keys', keys: 'ann=ann-key-0123456789' } };
  await using server = await startServer({ sandboxes, config });
  const headers = (id: string) => ({ ...ann, 'x-request-id': id });
  const url = `${server.url}/sandboxes/sb-1/files/a.txt`;
  assert.equal((await fetch(url, { method: 'PUT', body: 'x', headers: headers('put-1') })).status, 201);
  assert.equal(await (await fetch(url, { headers: headers('get-1') })).text(), 'x');
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/sandboxes/sb-1/terminals/t`, {
    headers: headers('ws-1'),
  });
  await new Promise((done) => socket.once('error', done));
  const said = lines.map(({ request, tool, op }) => `${request} ${tool} ${op}`);
  assert.deepEqual(said.toSorted(), [
    'get-1 GET files files.open',
    'get-1 GET files files.read',
    'put-1 PUT files files.write',
    'ws-1 GET terminal terminals.watch',
  ]);
  assert.deepEqual(secrets[0], ['ann-key-0123456789']);
});
