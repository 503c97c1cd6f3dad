import { readFileSync } from 'node:fs';

const text = (name: string) => readFileSync(new URL(`./scripts/${name}.sh`, import.meta.url), 'utf8');
const prelude = text('prelude');

/** The bash scripts that file operations run in a sandbox; each file's head says what it takes and prints. */
export const scripts = {
  stat: prelude + text('stat'),
  read: prelude + text('read'),
  write: prelude + text('write'),
  list: prelude + text('list'),
  mkdir: prelude + text('mkdir'),
  remove: prelude + text('remove'),
  move: prelude + text('move'),
  archive: prelude + text('archive'),
  pick: prelude + text('pick'),
  search: prelude + text('search'),
  unpack: prelude + text('unpack'),
} as const;
