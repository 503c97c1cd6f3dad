import { isOpen, type CommandPage, type OutputPage } from '../../sandbox/ports/workspace.ts';
import { cutAtEnd, decodeBytes, type TextEncoding } from '../../lib/bytes.ts';
import { activeFields, backgroundNote, commandStatus, escapedNote, openNotes, twoStreams } from './command-text.ts';
import { grouped } from '../../lib/text.ts';

interface ShownPage {
  readonly text: string;
  readonly encoding: TextEncoding;
  /** Where the next page begins; a character is never split between two. */
  readonly next: number;
  /** Bytes that are there after this page. */
  readonly more: number;
}

export interface ShownPages {
  readonly stdout: ShownPage;
  readonly stderr: ShownPage;
}

/** Both streams' pages, each at most `limit` bytes. */
export function showPages(page: CommandPage, limit: number): ShownPages {
  const running = isOpen(page.status);
  return { stdout: showPage(page.stdout, limit, running), stderr: showPage(page.stderr, limit, running) };
}

function showPage(page: OutputPage, limit: number, running: boolean): ShownPage {
  const within = page.bytes.subarray(0, limit);
  const follows = running || within.length < page.bytes.length || page.next < page.total;
  const held = follows ? cutAtEnd(within) : 0;
  // A page of nothing but the beginning of a character goes out as it is once no more can come.
  const bytes = held < within.length ? within.subarray(0, within.length - held) : within.subarray(0, 0);
  const [decoded] = decodeBytes(bytes);
  const next = page.offset + bytes.length;
  return { text: decoded!.text, encoding: decoded!.encoding, next, more: Math.max(0, page.total - next) };
}

export function pageFields(page: CommandPage, shown: ShownPages): Record<string, unknown> {
  return {
    status: page.status,
    exit_code: page.exitCode,
    stdout: shown.stdout.text,
    stderr: shown.stderr.text,
    stdout_encoding: shown.stdout.encoding,
    stderr_encoding: shown.stderr.encoding,
    offset: page.stdout.offset,
    stderr_offset: page.stderr.offset,
    next_offset: shown.stdout.next,
    next_stderr_offset: shown.stderr.next,
    stdout_size: page.stdout.total,
    stderr_size: page.stderr.total,
    evicted: page.stdout.evicted,
    stderr_evicted: page.stderr.evicted,
    command: page.command,
    command_id: page.commandId,
    execution_time: page.executionTime,
    cwd: page.cwd,
    ...(page.cause && { cause: page.cause.code, cause_message: page.cause.message }),
    ...(page.background && { background: true }),
    ...(page.behind && { behind: activeFields(page.behind) }),
  };
}

export function pageText(page: CommandPage, shown: ShownPages) {
  const next = `next_offset ${shown.stdout.next} · next_stderr_offset ${shown.stderr.next}`;
  return {
    text: twoStreams(shown.stdout.text, shown.stderr.text),
    notes: [
      page.cause?.message,
      ...openNotes(page),
      page.background && `${backgroundNote}; stop_command ends them`,
      evictedNote('stdout', page.stdout),
      evictedNote('stderr', page.stderr),
      moreNote('stdout', shown.stdout),
      moreNote('stderr', shown.stderr),
      [shown.stdout, shown.stderr].some(({ encoding }) => encoding === 'escaped') && escapedNote,
    ].filter((note) => typeof note === 'string'),
    status: [...commandStatus(page), next],
    outcome: page.status,
  };
}

function evictedNote(name: string, page: OutputPage): string | false {
  return (
    page.evicted > 0 && `${grouped(page.evicted)} bytes of ${name} before offset ${page.offset} are no longer held`
  );
}

function moreNote(name: string, page: ShownPage): string | false {
  return page.more > 0 && `${grouped(page.more)} bytes of ${name} follow after this page`;
}
