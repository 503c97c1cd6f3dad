/** Where a sandbox's commands and terminals are noted for the server that comes after this one. Synchronous, and must not throw. */
export interface CommandStore {
  /** Adds or replaces a record: JSON of a few hundred bytes besides the command's text. */
  save(commandId: string, record: string): void;
  drop(commandId: string): void;
  load(): readonly { readonly commandId: string; readonly record: string }[];
}

/** What a new server has to know of a command. */
export interface CommandNote {
  readonly kind: 'command';
  /** The host's boot number, in hex. */
  readonly boot: string;
  readonly channel: number;
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
}

/** What a new server has to know of a terminal. */
export interface TerminalNote {
  readonly kind: 'terminal';
  readonly boot: string;
  readonly channel: number;
  readonly command: string;
  readonly rows: number;
  readonly cols: number;
  /** ISO 8601. */
  readonly started: string;
  /** Offset up to which it was read by streaming reads. */
  readonly read: number;
}

export type Note = CommandNote | TerminalNote;

/** A host's boot number as ids and notes show it. */
export function bootName(boot: bigint): string {
  return boot.toString(16).padStart(16, '0');
}

/** A note with the id under which callers know the command or terminal. */
export type NamedNote = Note & { readonly id: string };

/** The notes that belong to the host with this boot number, by channel; others are dropped. */
export function loadNotes(store: CommandStore | undefined, boot: string): Map<number, NamedNote> {
  const notes = new Map<number, NamedNote>();
  for (const { commandId: id, record } of store?.load() ?? []) {
    const note = parseNote(record);
    if (note?.boot === boot) notes.set(note.channel, { ...note, id });
    else store?.drop(id);
  }
  return notes;
}

function parseNote(record: string): Note | undefined {
  try {
    return JSON.parse(record) as Note;
  } catch {
    return undefined;
  }
}
