import { toAppError } from '../errors.ts';
import type { AuditSink } from './audit-log.ts';
import { auditSandbox, type AuditSubject } from './audit.ts';
import type { Live, Opener } from './live.ts';
import type { Container } from './runtime.ts';
import type { SandboxRow } from './state.ts';

/** Writes a line when a sandbox's container is started, adopted, found gone, or removed. */
export function auditedOpener(opener: Opener, sink: AuditSink, subjectOf: (row: SandboxRow) => AuditSubject): Opener {
  const recorded = async (event: string, row: SandboxRow, work: () => Promise<Live>): Promise<Live> => {
    const subject = subjectOf(row);
    const { template } = row;
    try {
      const live = await work();
      await auditSandbox(sink, event, subject, { template, outcome: 'ok' });
      return watched(live, (what, why) => auditSandbox(sink, what, subject, { why }));
    } catch (error) {
      await auditSandbox(sink, event, subject, { template, outcome: toAppError(error).code });
      throw error;
    }
  };
  return {
    open: (row, signal) => recorded('sandbox.started', row, () => opener.open(row, signal)),
    adopt: (row, record, signal) => recorded('sandbox.adopted', row, () => opener.adopt(row, record, signal)),
    describe: (row) => opener.describe(row),
  };
}

type Note = (event: string, why?: string) => Promise<void>;

function watched(live: Live, note: Note): Live {
  let removing = false;
  void live.closed.then((why) => (removing ? undefined : note('sandbox.lost', why)));
  const remove = async (): Promise<void> => {
    const first = !removing;
    removing = true;
    await live.container.remove();
    if (first) await note('sandbox.removed');
  };
  return {
    container: withRemoval(live.container, remove),
    workspace: live.workspace,
    activity: () => live.activity(),
    alive: () => live.alive(),
    closed: live.closed,
    [Symbol.asyncDispose]: () => live[Symbol.asyncDispose](),
  };
}

function withRemoval(container: Container, remove: () => Promise<void>): Container {
  return {
    id: container.id,
    name: container.name,
    exec: (argv, options) => container.exec(argv, options),
    usage: (signal) => container.usage(signal),
    state: (signal) => container.state(signal),
    pause: () => container.pause(),
    resume: () => container.resume(),
    remove,
  };
}
