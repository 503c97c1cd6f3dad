import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { AppError } from '../../src/errors.ts';
import { auditedOpener } from '../../src/sandbox/intercept/audit/opener.ts';
import type { AuditFields } from '../../src/sandbox/intercept/audit/audit.ts';
import { auditSubject, decorator } from '../../src/compose/decorate.ts';
import type { Live, Opener } from '../../src/sandbox/lifecycle/live.ts';
import { workspaceMetrics } from '../../src/sandbox/intercept/metered.ts';
import { createPolicy } from '../../src/sandbox/intercept/policy/policy.ts';
import type { ContainerRecord } from '../../src/sandbox/ports/runtime.ts';
import type { SandboxRow } from '../../src/state/state.ts';
import type { Workspace } from '../../src/sandbox/ports/workspace.ts';

const row = {
  handle: 'sbx-1',
  principal: 'key:ann',
  scopeKind: 'default',
  scopeId: '',
  template: 'data',
} as SandboxRow;
const digest = (name: string): string => `#${name.length}`;
const subject = auditSubject(row, { digest });
const signal = new AbortController().signal;

function setUp() {
  const events: AuditFields[] = [];
  const closed = Promise.withResolvers<string>();
  const live = {
    container: { id: 'c', name: 'n', remove: async () => {} },
    workspace: {},
    activity: async () => ({ running: false, processes: 0, watched: 0 }),
    alive: () => true,
    closed: closed.promise,
    carry: async () => Buffer.from('/'),
    restored: true,
    [Symbol.asyncDispose]: async () => {},
  } as unknown as Live;
  const inner = { open: async () => live, adopt: async () => live } as unknown as Opener;
  const sink = { write: async (fields: AuditFields) => void events.push(fields) };
  const names = () => events.map(({ event }) => event);
  return { events, names, closed, inner, opener: auditedOpener(inner, sink, () => subject), sink };
}

describe('auditSubject', () => {
  it('names nobody', () => {
    assert.deepEqual(subject, { sandbox: 'sbx-1', principal: '#7', key: '#16' });
  });
});

describe('auditedOpener', () => {
  it('lets the shell go on in another container', async () => {
    const live = await setUp().opener.open(row, signal);
    assert.deepEqual([await live.carry?.(), live.restored], [Buffer.from('/'), true]);
  });

  it('writes a line for a start and for the removal, once', async () => {
    const { events, names, opener } = setUp();
    const live = await opener.open(row, signal);
    assert.deepEqual(events, [
      { event: 'sandbox.started', ...subject, request: undefined, tool: undefined, template: 'data', outcome: 'ok' },
    ]);
    await live.container.remove();
    await live.container.remove();
    assert.deepEqual(names(), ['sandbox.started', 'sandbox.removed']);
  });

  it('tells a loss from a removal', async () => {
    const { events, names, opener, closed } = setUp();
    await opener.adopt(row, {} as ContainerRecord, signal);
    closed.resolve('its container was killed');
    await closed.promise;
    assert.deepEqual(names(), ['sandbox.adopted', 'sandbox.lost']);
    assert.equal(events[1]?.['why'], 'its container was killed');
  });

  it('does not call a removal a loss', async () => {
    const { names, opener, closed } = setUp();
    const live = await opener.open(row, signal);
    const removal = live.container.remove();
    closed.resolve('it was removed');
    await removal;
    assert.deepEqual(names(), ['sandbox.started', 'sandbox.removed']);
  });

  it('records a start that failed by its code', async () => {
    const { events, inner, sink } = setUp();
    const broken = { ...inner, open: async () => Promise.reject(new AppError('image_missing', 'no image')) };
    const opener = auditedOpener(broken, sink, () => subject);
    await assert.rejects(opener.open(row, signal), /no image/);
    assert.deepEqual(
      events.map(({ event, outcome }) => [event, outcome]),
      [['sandbox.started', 'image_missing']],
    );
  });
});

describe('decorator', () => {
  it('counts and audits what the policy refuses', async () => {
    const { events, sink } = setUp();
    const registry = new Registry();
    const policy = createPolicy({ enabled: true, allowed_executables: ['ls'], blocked_patterns: [] });
    assert.ok(policy);
    const decorate = decorator({ policy, audit: sink, metrics: workspaceMetrics(registry), subjectOf: () => subject });
    const { shell } = decorate({ handle: 'sbx-1', shell: {}, files: {}, terminals: {} } as unknown as Workspace, row);
    await assert.rejects(shell.run('rm x'), /"rm" is not allowed/);
    assert.equal(events[0]?.['outcome'], 'forbidden');
    assert.match(await registry.metrics(), /berth_workspace_calls_total\{op="shell.run",outcome="forbidden"\} 1/);
  });
});
