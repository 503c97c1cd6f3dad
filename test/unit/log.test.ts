import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, type LogSettings } from '../../src/log.ts';

function logged(format: LogSettings['format'], write: (log: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  write(createLogger({ level: 'info', format }, { write: (line: string) => void (text += line) }));
  return text;
}

test('no secret field reaches the log, however deep it is put', () => {
  const secrets = { authorization: 'Bearer s3cret', token: 's3cret', password: 's3cret', cookie: 'a=s3cret' };
  const more = { secret: 's3cret', key_secret: 's3cret', sig: 's3cret', signature: 's3cret' };
  const fields = { ...secrets, ...more };
  for (const format of ['json', 'pretty'] as const) {
    const text = logged(format, (log) => log.info({ ...fields, headers: fields, request: { headers: fields } }, 'hi'));
    assert.match(text, /hi/);
    assert.doesNotMatch(text, /s3cret/);
  }
});

test('whatever a name holds, a line of the log is one line and one object', () => {
  const evil = '\u001b[2J\r\n{"level":"fatal","msg":"forged"}\u2028\u0000"';
  const text = logged('json', (log) => log.info({ path: evil, [evil]: 1, err: new Error(evil) }, evil));
  const lines = text.split('\n');
  assert.deepEqual([lines.length, lines[1]], [2, '']);
  assert.ok(!/[\u0000-\u001f]/.test(lines[0] ?? ''));
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  assert.deepEqual([line['level'], line['msg'], line['path']], ['info', evil, evil]);
});
