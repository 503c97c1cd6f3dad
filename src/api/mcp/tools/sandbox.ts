import { z } from 'zod';
import type { SandboxInfo } from '../../../sandbox/sandboxes.ts';
import type { SandboxStatus } from '../../../sandbox/ports/workspace.ts';
import { changes, reads } from '../annotations.ts';
import { defineTool } from '../define-tool.ts';
import { byteSize } from '../../../lib/text.ts';
import { activeFields, shownCommand } from '../command-text.ts';

const createSandbox = defineTool({
  name: 'create_sandbox',
  title: 'Create another sandbox',
  description:
    'Create a sandbox besides your own and get its handle, to pass as sandbox to the other tools. You need none to begin with: without a handle every tool uses your own. Create one to keep work apart, for another template, or to keep the same computer over several conversations.',
  input: {
    template: z.string().min(1).max(64).optional().describe('Kind of sandbox, as the operator named it.'),
    ttl: z
      .number()
      .positive()
      .max(31_536_000)
      .optional()
      .describe('Seconds after which it is removed in any case; keep_sandbox puts that off.'),
  },
  takesSandbox: false,
  annotations: changes(),
  async handle(args, call) {
    const info = await call.sandboxes.create(call.principal, {
      signal: call.signal,
      ...(args.template !== undefined && { template: args.template }),
      ...(args.ttl !== undefined && { ttl: args.ttl }),
    });
    return {
      structured: { ...info },
      text: `Sandbox ${info.sandbox} is ready; pass sandbox "${info.sandbox}" to the other tools.`,
      status: [info.sandbox, info.template, info.state],
    };
  },
});

const listSandboxes = defineTool({
  name: 'list_sandboxes',
  title: 'List your sandboxes',
  description: 'The sandboxes that are yours, with their handles and states.',
  input: {},
  takesSandbox: false,
  annotations: reads(),
  async handle(_args, call) {
    const sandboxes = await call.sandboxes.list(call.principal);
    return {
      structured: { sandboxes },
      text: sandboxes.map(sandboxLine).join('\n'),
      status: [sandboxes.length === 1 ? '1 sandbox' : `${sandboxes.length} sandboxes`],
    };
  },
});

function sandboxLine({ sandbox, template, state, created, expires }: SandboxInfo): string {
  return `${sandbox}  ${template}  ${state}  created ${created}${expires ? `  expires ${expires}` : ''}`;
}

const keepSandbox = defineTool({
  name: 'keep_sandbox',
  title: 'Give a sandbox more time',
  description:
    'Put off the end of a sandbox that was created with a ttl. Results say when the end is near; what is not kept is removed with all its files.',
  input: {
    ttl: z.number().positive().max(31_536_000).describe('Seconds from now for which it is kept at least.'),
  },
  annotations: changes({ idempotent: true }),
  async handle(args, call) {
    const info = await call.sandboxes.keep(call.key, args.ttl);
    const text = info.expires === null ? 'This sandbox has no ttl: nothing to put off.' : `It ends at ${info.expires}.`;
    return { structured: { ...info }, text, status: [info.sandbox, `expires ${info.expires ?? 'never'}`] };
  },
});

const endSandbox = defineTool({
  name: 'end_sandbox',
  title: 'Remove a sandbox',
  description:
    'Remove a sandbox with everything in it: processes, terminals and, unless keep_workspace is true, its files. Without sandbox, your own; the next command then starts a new one.',
  input: { keep_workspace: z.boolean().optional().describe('Keep the files under /workspace.') },
  annotations: changes({ destructive: true }),
  async handle(args, call) {
    const keep = args.keep_workspace ?? false;
    await call.sandboxes.end(call.key, { keepWorkspace: keep });
    return {
      structured: { ended: true, workspace_kept: keep },
      text: keep ? 'The sandbox is gone; its files are kept.' : 'The sandbox and its files are gone.',
      status: ['ended'],
    };
  },
});

const sandboxStatus = defineTool({
  name: 'sandbox_status',
  title: 'Limits and usage of a sandbox',
  description:
    'What the sandbox is and may: template, memory, CPU, process and disk limits, what is used of them, whether it has a network, which command runs and which wait for it, when it ends if idle, what its last wake-up could not bring back. Look here after an out-of-memory kill, a full disk or a refused connection. Starts no sandbox.',
  input: {},
  annotations: reads(),
  async handle(_args, call) {
    const status = await call.sandboxes.status(call.key);
    if (!status)
      return {
        structured: { state: 'none' },
        text: 'You have no sandbox yet; the first command starts one.',
        status: ['none'],
      };
    return { structured: statusFields(status), text: statusText(status), status: [status.sandbox, status.state] };
  },
});

function statusFields(status: SandboxStatus): Record<string, unknown> {
  const { sandbox, state, template, image, created, expires, network, limits, runtime, lost, degraded } = status;
  const { cpuSeconds, ...usage } = status.usage;
  return {
    sandbox,
    state,
    template,
    image,
    created,
    expires,
    network,
    runtime,
    limits,
    lost,
    degraded,
    commands: status.commands.map(activeFields),
    idle_deadline: status.idleDeadline,
    disk_quota: status.diskQuota,
    usage: { ...usage, cpu_seconds: cpuSeconds },
  };
}

function statusText(status: SandboxStatus): string {
  const { limits, usage } = status;
  return [
    `Sandbox ${status.sandbox}, template ${status.template}, image ${status.image}, runtime ${status.runtime}`,
    `memory: ${byteSize(usage.memory)} of ${byteSize(limits.memory)}`,
    `cpu: ${limits.cpus} CPUs, ${usage.cpuSeconds.toFixed(2)} s used`,
    `processes: ${usage.pids} of ${limits.pids}; terminals: ${usage.terminals}`,
    `disk: /tmp ${byteSize(limits.tmp)}; /dev/shm ${byteSize(limits.shm)}; /workspace ${limits.disk === null ? 'no limit but the host’s' : byteSize(limits.disk)} (quota: ${status.diskQuota})`,
    `network: ${status.network}`,
    ...status.commands.map((command) => `command: ${shownCommand(command)}`),
    `${idleText(status)}; expires: ${status.expires ?? 'never'}`,
    ...status.lost.map(
      (sentence) => `lost ${status.state === 'running' ? 'at the last wake' : 'since then'}: ${sentence}`,
    ),
    ...status.degraded.map((sentence) => `degraded: ${sentence}`),
  ].join('\n');
}

function idleText({ state, idleDeadline }: SandboxStatus): string {
  if (state !== 'running') return 'idle: the next call wakes it';
  return `ends when idle: ${idleDeadline ?? 'not while work goes on'}`;
}

export const sandboxTools = [createSandbox, listSandboxes, keepSandbox, endSandbox, sandboxStatus];
