import { test } from 'node:test';
import assert from 'node:assert/strict';
import { lastFrames, byteSize, lines, omissionLine, oneLine, readable } from '../../src/lib/text.ts';
import { respond, respondError } from '../../src/api/mcp/response.ts';
import { AppError } from '../../src/errors.ts';

for (const [name, input, output] of [
  ['colours', '\u001b[31mred\u001b[0m\n', 'red\n'],
  ['a title', '\u001b]0;title\u0007text', 'text'],
  ['a link', '\u001b]8;;https://x.y\u001b\\here\u001b]8;;\u001b\\', 'here'],
  ['cursor moves', 'a\u001b[2Jb\u001b[10;20Hc', 'abc'],
  ['tab, newline and return', 'a\tb\r\nc', 'a\tb\r\nc'],
  ['NUL and bell', 'a\0b\u0007', 'a␀b␇'],
  ['a title without an end', 'a\u001b]0;title\nb', 'a\nb'],
  ['private modes, and a string of the terminal', '\u001b[>4;2m\u001bP1$r0m\u001b\\text', 'text'],
  ['a lone escape', 'a\u001b', 'a␛'],
  ['delete and C1', '\u007f\u0085', '␡\\u0085'],
] as const)
  test(`readable: ${name}`, () => assert.equal(readable(input), output));

for (const [name, opener] of [
  ['titles', '\u001b]'],
  ['control sequences', '\u001b[1;'],
  ['escapes', '\u001b '],
] as const)
  test(`readable: four million characters of ${name} without an end`, { timeout: 20_000 }, () => {
    const text = readable(opener.repeat(4_000_000 / opener.length));
    assert.equal(/\u001b/.test(text), false);
  });

test('parts begin on lines of their own, and empty ones leave no trace', () => {
  assert.equal(lines('a', '', 'b\n', undefined, 'c'), 'a\nb\nc');
});

test('sizes and omissions are told exactly', () => {
  assert.equal(omissionLine(1234567), '[… 1,234,567 bytes omitted …]');
  assert.deepEqual([0, 1023, 1024, 5_242_880, 3 * 2 ** 40].map(byteSize), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '5.0 MiB',
    '3.0 TiB',
  ]);
});

test('one line is one line, and short', () => {
  assert.equal(oneLine('a\nb\u001b[31m\rc', 10), 'a b c');
  assert.equal(oneLine('x'.repeat(50), 10), `${'x'.repeat(10)}…`);
});

const texts = (result: { content: { type: string }[] }) =>
  result.content.map((item) => (item as { text?: string }).text);

test('the last line of a result is its status and no JSON', () => {
  const result = respond({ structured: { a: 1 }, text: '1e5', status: ['exit 0', '/workspace'] }, [], []);
  assert.deepEqual(texts(result), ['1e5\n[exit 0 · /workspace]']);
  assert.throws(() => JSON.parse(texts(result)[0]!));
  assert.deepEqual(result.structuredContent, { a: 1 });
});

test('a status line cannot be broken by what a container says', () => {
  const result = respond({ structured: {}, status: ['exit 0', '/workspace/a\nb\u001b[31m'] }, [], []);
  assert.deepEqual(texts(result), ['[exit 0 · /workspace/a b]']);
});

test('what was lost at a wake comes before the other notes and is structured, too', () => {
  const result = respond({ structured: {}, text: 'out', notes: ['a note'], status: ['ok'] }, ['Two jobs ended.'], []);
  assert.deepEqual(texts(result), ['out\n[note: Two jobs ended.]\n[note: a note]\n[ok]']);
  assert.deepEqual(result.structuredContent, { lost: ['Two jobs ended.'], notes: ['Two jobs ended.', 'a note'] });
});

test('escapes stand in text and fields only if they are asked for, and a file’s content is exact', () => {
  const escape = '\u001b[31mred';
  const structured = { stdout: escape, metadata: {}, content: escape };
  const exact = respond({ structured, text: escape, status: ['ok'], raw: true }, [], []);
  assert.deepEqual(texts(exact), [`${escape}\n[ok]`]);
  assert.deepEqual(exact.structuredContent, structured);
  const shown = respond({ structured, text: escape, status: ['ok'] }, [], []);
  assert.deepEqual(shown.structuredContent, { ...structured, stdout: 'red' });
});

test('the structured form has the notes, and of a long command the beginning and the length, wherever it stands', () => {
  const command = `${'a'.repeat(199)}😀${'b'.repeat(3000)}`;
  const structured = { command, sessions: [{ command, cols: 80 }] };
  const { structuredContent } = respond({ structured, status: ['ok'], notes: ['one\u001b[1m'] }, [], []);
  const beginning = `${'a'.repeat(199)}… (3,201 characters in all)`;
  assert.deepEqual(structuredContent, {
    command: beginning,
    sessions: [{ command: beginning, cols: 80 }],
    notes: ['one'],
  });
});

test('a secret is redacted wherever it stands, escaped or not', () => {
  const result = respond({ structured: { a: ['x"secret"y'] }, text: 'x"secret"y', status: ['ok'] }, [], ['"secret"']);
  assert.deepEqual(texts(result), ['x[redacted]y\n[ok]']);
  assert.deepEqual(result.structuredContent, { a: ['x[redacted]y'] });
});

test('an error is its sentence, its code and its data', () => {
  const error = new AppError('busy', 'The queue is full.', { data: { retry_after: 2 } });
  assert.deepEqual(respondError(error, []), {
    content: [{ type: 'text', text: 'The queue is full.\n[error · busy]' }],
    structuredContent: { code: 'busy', message: 'The queue is full.', retry_after: 2 },
    isError: true,
  });
});

test('of a line that was written over its last state is shown, in time that is linear', () => {
  for (const [text, shown] of [
    ['a\nb', 'a\nb'],
    [' 1%\r 50%\r100%\ndone\n', '100%\ndone\n'],
    ['a\r\nb\r\n', 'a\r\nb\r\n'],
    ['a\r\r\nb', 'a\r\r\nb'],
    ['1\r2\r', '2\r'],
    ['\r\r', '\r\r'],
  ] as const)
    assert.equal(lastFrames(text), shown);
  const start = performance.now();
  lastFrames('x\r'.repeat(2 ** 20) + '\r'.repeat(2 ** 20));
  assert.ok(performance.now() - start < 1000);
});
