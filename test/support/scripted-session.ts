import assert from 'node:assert/strict';
import { pino } from 'pino';
import { AppError } from '../../src/errors.ts';
import {
  openShellHost,
  type SessionHost,
  type SessionHostOptions,
} from '../../src/sandbox/session/wire/session-host.ts';
import type { ScriptedHost } from './scripted-host.ts';

/** Small bounds, so that tests reach them. */
const config = {
  shell: {
    default_shell: '/bin/bash',
    timeout: 120,
    max_timeout: 3600,
    wait: 0,
    output_head: 16384,
    output_tail: 32768,
    window: 1048576,
    history: 4,
    queue: 2,
  },
  terminal: { max: 2, scrollback: 100, buffer: 65536, cols: 80, rows: 24, watchers: 2 },
};

/** Notes for a later server, in memory. */
export function notes() {
  const records = new Map<string, string>();
  return {
    records,
    save: (id: string, record: string) => void records.set(id, record),
    drop: (id: string) => void records.delete(id),
    load: () => [...records].map(([commandId, record]) => ({ commandId, record })),
  };
}

/** A session host over what a test scripts. */
export function open(
  container: ScriptedHost,
  store = notes(),
  more: Partial<SessionHostOptions> = {},
): Promise<SessionHost> {
  const log = pino({ level: 'silent' });
  return openShellHost(container, { token: Buffer.alloc(32, 7), log, config, store, ...more });
}

/** The promise is rejected with an `AppError` of this code and message. */
export async function rejects(promise: Promise<unknown>, code: AppError['code'], message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}
