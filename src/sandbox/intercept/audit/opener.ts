import { toAppError } from '../../../errors.ts';
import type { AuditSink } from './log.ts';
import { auditSandbox, type AuditSubject } from './audit.ts';
import type { Live, Opener } from '../../lifecycle/live.ts';
import type { Container } from '../../ports/runtime.ts';
import type { SandboxRow } from '../../../state/state.ts';
import { detached } from '../../../lib/detached.ts';

/** Writes a line when a sandbox's container is started, adopted, found gone, or removed. */
export function auditedOpener(opener: Opener, sink: AuditSink, subjectOf: (row: SandboxRow) => AuditSubject): Opener {
  const noteFor = (row: SandboxRow): Note => ({
    write: (event, why) => auditSandbox(sink, event, subjectOf(row), { template: row.template, ...(why && { why }) }),
    of: noteFor,
  });
  const recorded = async (event: string, row: SandboxRow, work: () => Promise<Live>): Promise<Live> => {
    const subject = subjectOf(row);
    const { template } = row;
    try {
      const live = await work();
      await auditSandbox(sink, event, subject, { template, outcome: 'ok' });
      return watched(live, noteFor(row));
    } catch (error) {
      await auditSandbox(sink, event, subject, { template, outcome: toAppError(error).code });
      throw error;
    }
  };
  return {
    open: (row, signal) => recorded('sandbox.started', row, () => opener.open(row, signal)),
    adopt: (row, record, signal) => recorded('sandbox.adopted', row, () => opener.adopt(row, record, signal)),
    describe: (row) => opener.describe(row),
    specOf: (row) => opener.specOf(row),
  };
}

/** Writes lines about one owner's sandbox. */
interface Note {
  write(event: string, why?: string): Promise<void>;
  of(row: SandboxRow): Note;
}

function watched(live: Live, note: Note): Live {
  let ending = false;
  let handedOn = false;
  detached(live.closed.then((why) => (ending || handedOn ? undefined : note.write('sandbox.lost', why))));
  const ends = (event: string, act: () => Promise<void>) => async (): Promise<void> => {
    const first = !ending;
    ending = true;
    await act();
    if (first) await note.write(event);
  };
  return {
    container: withEnds(live.container, {
      stop: ends('sandbox.stopped', () => live.container.stop()),
      remove: ends('sandbox.removed', () => live.container.remove()),
    }),
    workspace: live.workspace,
    ...(live.glance && { glance: live.glance }),
    activity: () => live.activity(),
    alive: () => live.alive(),
    closed: live.closed,
    carry: async () => await live.carry?.(),
    restored: live.restored ?? false,
    endsBecause: (why) => live.endsBecause?.(why),
    claimedBy(row) {
      handedOn = true;
      const owned = note.of(row);
      detached(owned.write('sandbox.claimed'));
      return watched(live.claimedBy(row), owned);
    },
    [Symbol.asyncDispose]: () => live[Symbol.asyncDispose](),
  };
}

function withEnds(container: Container, ends: Pick<Container, 'stop' | 'remove'>): Container {
  return {
    id: container.id,
    name: container.name,
    exec: (argv, options) => container.exec(argv, options),
    usage: (signal) => container.usage(signal),
    state: (signal) => container.state(signal),
    pause: () => container.pause(),
    resume: () => container.resume(),
    ...ends,
  };
}
