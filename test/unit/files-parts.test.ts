import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRange } from '../../src/api/http/range.ts';
import { ByteReader } from '../../src/lib/byte-reader.ts';
import { createFiles } from '../../src/sandbox/files/files.ts';
import { replaceText } from '../../src/sandbox/files/edit.ts';
import { scriptFailure } from '../../src/sandbox/files/failure.ts';
import { globMatcher } from '../../src/sandbox/files/glob.ts';
import { MarkedBody } from '../../src/sandbox/files/marked-body.ts';
import { resolveFile, resolvePath, shown } from '../../src/sandbox/files/paths.ts';
import { sanitizedTar } from '../../src/sandbox/files/files-tar.ts';
import type { Container } from '../../src/sandbox/ports/runtime.ts';
import { tarEnd, tarHeader, tarPadding, type TarEntry } from '../../src/sandbox/files/tar.ts';

for (const [path, resolved] of [
  ['a', '/w/a'],
  ['', '/w'],
  ['.', '/w'],
  ['./a//b/', '/w/a/b'],
  ['../x', '/w/../x'],
  ['/etc', '/etc'],
  ['/', '/'],
  ['~', '/w'],
  ['~/a', '/w/a'],
  ['~a', '/w/~a'],
  ['~//etc', '/w/etc'],
] as const) {
  test(`path ${JSON.stringify(path)} is ${resolved}`, () => assert.equal(resolvePath('/w', path), resolved));
}

for (const path of ['', '.', '..', 'a/', 'a/.', 'a/..', '/']) {
  test(`no file is called ${JSON.stringify(path)}`, () => {
    assert.throws(() => resolveFile('/w', path), { code: 'invalid_argument' });
  });
}

test('a path in a sentence is one bounded line', () => {
  assert.equal(shown('a"b\\c\n\u001b[0m\u202e'), '"a\\"b\\\\c\\u000a\\u001b[0m\\u202e"');
  assert.equal(shown('x'.repeat(1000)).length, 203);
});

for (const [glob, yes, no] of [
  ['*.py', ['a.py', 'x/a.py', '.py', '.a.py'], ['a.pyc', 'a.py/b']],
  ['src/*.py', ['src/a.py'], ['a.py', 'src/x/a.py', 'x/src/a.py']],
  ['src/**', ['src/a', 'src/a/b', 'src'], ['srcs/a', 'x/src/a']],
  ['**/x', ['x', 'a/x', 'a/b/x'], ['xx', 'x/a']],
  ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['a/x', 'b']],
  ['**', ['a', 'a/b'], []],
  ['a?c', ['abc', 'x/a*c'], ['ac', 'a/c', 'abbc']],
  ['[a-c]x', ['ax', 'cx'], ['dx', 'x']],
  ['[!a-c]x', ['dx'], ['ax']],
  ['[]]', [']'], ['[']],
  ['[', ['['], ['a']],
  ['*.{ts,js{,on}}', ['a.ts', 'a.js', 'a.json'], ['a.jsonx']],
  ['\\*', ['*'], ['a']],
  ['ü*', ['über'], ['uber']],
  ['./a', ['a'], ['b']],
] as const) {
  test(`glob ${glob}`, () => {
    const matches = globMatcher(glob);
    for (const path of yes) assert.ok(matches(path), `${glob} should match ${path}`);
    for (const path of no) assert.ok(!matches(path), `${glob} should not match ${path}`);
  });
}

test('no glob takes exponential time, and none may expand without bound', () => {
  assert.equal(globMatcher(`${'*a'.repeat(100)}b`)('a'.repeat(250)), false);
  assert.equal(globMatcher(`${'**/a/'.repeat(100)}b`)('a/'.repeat(1000)), false);
  assert.throws(() => globMatcher('{a,b}'.repeat(30)), { code: 'invalid_argument' });
  assert.throws(() => globMatcher('x'.repeat(1001)), { code: 'invalid_argument' });
});

test('alternatives that are the same count once', () => {
  const started = process.threadCpuUsage();
  const matches = globMatcher(`*${'a'.repeat(127)}b{${','.repeat(98)}}`);
  for (let i = 0; i < 1000; i += 1) assert.equal(matches('a'.repeat(255)), false);
  const { user } = process.threadCpuUsage(started);
  assert.ok(user < 500_000, `${user} µs`);
  assert.equal(globMatcher('{a,a,b}{c,c}'.repeat(5))('acbcacbcac'), true);
});

test('a glob that takes too many steps is refused with a sentence', () => {
  const matches = globMatcher(`*${'a'.repeat(100)}b*`, 10_000);
  assert.equal(matches(`${'a'.repeat(101)}b`), true);
  const act = () => {
    for (let i = 0; i < 100; i += 1) matches('a'.repeat(255));
  };
  assert.throws(act, { code: 'invalid_argument', message: /^glob takes too long to match here; [^\n]+\.$/ });
});

test('a long listing lets others have their turn, and can be given up', async () => {
  const alternatives = Array.from({ length: 50 }, (_, i) => i.toString(36)).join(',');
  const glob = `*${'a'.repeat(60)}b*{${alternatives}}*`;
  const names = Array.from({ length: 200 }, (_, i) => String(i).padStart(255, 'a'));
  const stop = new AbortController();
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
    if (turns === 3) stop.abort();
  }, 1);
  const listing = createFiles(lister(names)).list('/w', { glob, signal: stop.signal });
  await assert.rejects(listing, { code: 'cancelled' }).finally(() => clearInterval(timer));
  assert.ok(turns < 10, `${turns} turns`);
});

/** A container in which every directory has these files, all told of at once. */
function lister(names: readonly string[]): Container {
  const records = names.map((name) => `f 0 0.0 644 ${name}\0\0`).join('');
  const exec = (argv: readonly string[]) => {
    const stdout = new Blob([`S\n${records}${argv.at(-1)}000`]).stream();
    const stderr = new Blob([]).stream();
    return Promise.resolve({
      stdin: new WritableStream(),
      stdout,
      stderr,
      wait: () => Promise.resolve(0),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  };
  return { exec } as unknown as Container;
}

test('a body ends at its mark, however it is cut and whatever is in it', async () => {
  const mark = 'abab-mark';
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 30 }),
    fc.constantFrom('ab', 'abab-mar', 'abab-mark', '00').map(Buffer.from),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece),
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
      async (pieces, sizes) => {
        const bytes = Buffer.concat(pieces);
        // A whole mark with its code is the end wherever a chunk stops behind it; in use it is random, and in no body.
        fc.pre(!/abab-mark\d{3}/.test(bytes.toString('latin1')));
        const whole = Buffer.concat([bytes, Buffer.from(`${mark}007`)]);
        const body = new MarkedBody(new ByteReader(cut(whole, sizes)), mark);
        const got: Uint8Array[] = [];
        for (let next = await body.next(); next !== null; next = await body.next()) got.push(next);
        assert.equal(body.exitCode, 7);
        assert.deepEqual(Buffer.concat(got), bytes);
      },
    ),
    { numRuns: 300 },
  );
});

test('a body without its mark is known for broken, its bytes given as far as they are surely its own', async () => {
  const body = new MarkedBody(new ByteReader(cut(Buffer.from('data then MA'), [5])), 'MARK');
  const got: Uint8Array[] = [];
  for (let next = await body.next(); next !== null; next = await body.next()) got.push(next);
  assert.equal(Buffer.concat(got).toString(), 'data then ');
  assert.equal(body.exitCode, null);
});

test('a line that never ends is not waited for', async () => {
  const reader = new ByteReader(cut(Buffer.alloc(10_000, 'x'), [1000]));
  assert.equal(await reader.line(1024), null);
});

/** Cuts into chunks of these sizes, over and over. */
function cut(bytes: Uint8Array, sizes: readonly number[]): ReadableStream<Uint8Array> {
  let at = 0;
  let turn = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      const size = sizes[turn % sizes.length]!;
      turn += 1;
      controller.enqueue(bytes.slice(at, at + size));
      at += size;
    },
  });
}

test('tar reads the headers as they were meant', () => {
  const long = `${'d'.repeat(99)}/${'n'.repeat(150)}`;
  const exact = 'e'.repeat(511);
  const entries = [
    { name: 'plain', type: 'file', size: 3, mode: 0o644, mtime: 1_700_000_000 },
    { name: 'ü', type: 'directory', size: 0, mode: 0o755, mtime: 0 },
    { name: long, type: 'file', size: 0, mode: 0o600, mtime: 2 ** 33 },
    { name: exact, type: 'symlink', size: 0, mode: 0o777, mtime: 0, target: `../${long}` },
    { name: 'hard', type: 'link', size: 0, mode: 0o644, mtime: 0, target: 'plain' },
  ] as const;
  const body = (size: number) => [Buffer.alloc(size, 'x'), tarPadding(size)];
  const parts = entries.flatMap((entry) => [tarHeader(entry), ...body(entry.size)]);
  const tar = Buffer.concat([...parts, tarEnd]);
  const listed = execFileSync('tar', ['--utc', '--quoting-style=literal', '-tvf', '-'], {
    input: tar,
    encoding: 'utf8',
  });
  const lines = listed
    .trim()
    .split('\n')
    .map((line) => line.replace(/ +/g, ' '));
  assert.deepEqual(lines, [
    '-rw-r--r-- 0/0 3 2023-11-14 22:13 plain',
    'drwxr-xr-x 0/0 0 1970-01-01 00:00 ü/',
    `-rw------- 0/0 0 2242-03-16 12:56 ${long}`,
    `lrwxrwxrwx 0/0 0 1970-01-01 00:00 ${exact} -> ../${long}`,
    'hrw-r--r-- 0/0 0 1970-01-01 00:00 hard link to plain',
  ]);
});

const plain = { name: 'f', type: 'file', size: 0, mode: 0o644, mtime: 0 } as const;

test('nothing but the bytes of files is passed on', async () => {
  const smuggled = Buffer.concat([
    tarHeader({ ...plain, name: 'l', type: 'symlink', target: '/etc' }),
    tarHeader({ ...plain, name: 'l/passwd' }),
  ]);
  const file = tarHeader({ ...plain, name: 'a' });
  for (const type of ['link', 'symlink'] as const) {
    const link = rawHeader({ ...plain, name: 'b', type, target: 'a' }, { size: smuggled.length });
    await assert.rejects(sanitized(file, link, smuggled, tarEnd), {
      code: 'invalid_argument',
      message: `The archive's entry "b" is a link with content of its own; nothing was unpacked.`,
    });
  }
  const directory = rawHeader({ ...plain, name: 'd', type: 'directory' }, { size: 512 });
  const { tar, totals } = await sanitized(directory, file, tarEnd);
  assert.deepEqual(namesOf(tar), ['d/', 'a', 'MARK']);
  assert.deepEqual(totals, { files: 1, bytes: 0 });
});

test('names that only an extended header holds come as they are, of GNU and of pax', async () => {
  const long = `${'ü'.repeat(120)}/`.repeat(15) + 'ü'.repeat(120);
  const target = `../${long}`;
  const entries = [
    { ...plain, name: long },
    { ...plain, name: 'ü', type: 'symlink', target },
  ] as const;
  const pax = [
    rawPax({ path: long, mtime: '1.5', 'SCHILY.xattr.user.x': '\u0000=\n\xff' }),
    tarHeader({ ...plain, name: 'short' }),
    rawPax({ path: 'ü', linkpath: target }),
    tarHeader({ ...plain, name: 'short', type: 'symlink', target: 'short' }),
  ];
  for (const parts of [entries.map((entry) => tarHeader(entry)), pax]) {
    const { tar } = await sanitized(rawPax({ comment: 'c'.repeat(40) }, 'g'), ...parts, tarEnd);
    assert.deepEqual(namesOf(tar), [long, 'ü', 'MARK']);
    assert.ok(tar.includes(target));
  }
});

for (const [title, message, headers] of [
  [
    'a large pax header',
    /at most 65536 bytes each; one has 7\d{4}\. Nothing/,
    [rawPax({ comment: 'x'.repeat(70_000) })],
  ],
  ['a large global header', /at most 65536 bytes/, [rawPax({ comment: 'x'.repeat(70_000) }, 'g')]],
  ['a long name of GNU', /at most 65536 bytes/, [tarHeader({ ...plain, name: 'n'.repeat(70_000) })]],
  ['a global name', /global header gives path to all/, [rawPax({ path: 'p' }, 'g')]],
  ['a pax header without sense', /not a whole, plain tar/, [rawPax('99 path=x\n')]],
  [
    'a sparse file',
    /^The archive's entry "GNUSparseFile\.1\/s" is a file with its holes/,
    [rawPax({ 'GNU.sparse.major': '1', 'GNU.sparse.name': 's' }), tarHeader({ ...plain, name: 'GNUSparseFile.1/s' })],
  ],
  ['a name in Latin-1', /entry "b\ufffd" has a name .* not UTF-8/, [latin(tarHeader({ ...plain, name: 'b#' }))]],
  ['a pax name in Latin-1', /not UTF-8/, [latin(rawPax({ path: 'b#' }))]],
  [
    'a target in Latin-1',
    /"l" has .* link target that is not UTF-8/,
    [latin(tarHeader({ ...plain, name: 'l', type: 'symlink', target: 't#' }))],
  ],
] as const) {
  test(`no archive with ${title} is unpacked`, async () => {
    await assert.rejects(sanitized(...headers, tarHeader(plain), tarEnd), { code: 'invalid_argument', message });
  });
}

test('a header of thousands of keys is not carried to every entry', async () => {
  const keys = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, '']));
  const entry = [rawPax({ mtime: '1' }), tarHeader({ ...plain, name: 'd', type: 'directory' })];
  const before = process.threadCpuUsage();
  await sanitized(rawPax(keys, 'g'), ...Array.from({ length: 900 }, () => entry).flat(), tarEnd);
  const { user } = process.threadCpuUsage(before);
  assert.ok(user < 500_000, `${user} µs`);
});

/** A pax header with these records, or this text. */
function rawPax(records: Readonly<Record<string, string>> | string, flag = 'x'): Buffer {
  const text = typeof records === 'string' ? records : Object.entries(records).map(paxRecord).join('');
  const bytes = Buffer.from(text);
  return Buffer.concat([rawHeader(plain, { flag, size: bytes.length }), bytes, tarPadding(bytes.length)]);
}

function paxRecord([key, value]: readonly [string, string]): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  const length = rest + String(rest + String(rest).length).length;
  return `${length} ${key}=${value}\n`;
}

/** With the byte `ü` of Latin-1 for each `#`. */
function latin(header: Uint8Array): Buffer {
  const bytes = Buffer.from(header);
  for (let at = bytes.indexOf('#'); at >= 0; at = bytes.indexOf('#')) bytes[at] = 0xfc;
  if (bytes.length > 512) return bytes;
  return rawSum(bytes);
}

/** A header as another program may write it: another size, another type. */
function rawHeader(entry: TarEntry, { size = entry.size, flag }: { size?: number; flag?: string }): Buffer {
  const header = Buffer.from(tarHeader(entry));
  header.write(size.toString(8).padStart(11, '0'), 124, 'latin1');
  if (flag !== undefined) header.write(flag, 156, 'latin1');
  return rawSum(header);
}

function rawSum(header: Buffer): Buffer {
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** The archive of these parts as it is handed to a sandbox. */
async function sanitized(...parts: Uint8Array[]) {
  const totals = { files: 0, bytes: 0 };
  const limits = { entries: 1000, bytes: 2 ** 40, names: 2 ** 25 };
  const source = cut(Buffer.concat(parts), [64 * 1024]).getReader();
  const pieces: Uint8Array[] = [];
  for await (const piece of sanitizedTar(source, { path: 'x', mark: 'MARK', limits, totals })) pieces.push(piece);
  return { tar: Buffer.concat(pieces), totals };
}

function namesOf(tar: Uint8Array): string[] {
  const listed = execFileSync('tar', ['--quoting-style=literal', '-tf', '-'], { input: tar, encoding: 'utf8' });
  return listed.trimEnd().split('\n');
}

test('a size beyond octal goes as base 256', () => {
  const header = Buffer.from(tarHeader({ name: 'huge', type: 'file', size: 2 ** 40 + 1, mode: 0o644, mtime: 0 }));
  assert.equal(header.subarray(124, 136).toString('hex'), '800000000000010000000001');
});

for (const [header, size, range] of [
  ['bytes=0-0', 10, { offset: 0, length: 1 }],
  ['bytes=2-', 10, { offset: 2, length: 8 }],
  ['bytes=-4', 10, { offset: 6, length: 4 }],
  [' bytes = 1 - 2 ', 10, { offset: 1, length: 2 }],
  ['bytes=0-', 0, null],
  ['bytes=-5', 0, null],
  ['bytes=-', 10, undefined],
  ['bytes=a-b', 10, undefined],
  ['bytes=99999999999999999999-', 10, undefined],
  [undefined, 10, undefined],
] as const) {
  test(`range ${header} of ${size}`, () => assert.deepEqual(parseRange(header, size), range));
}

function edited(text: string, oldText: string, newText: string, { all = false, limit = 1e6 } = {}) {
  return replaceText('f', text, { oldText, newText, all, limit });
}

test('the lines around changes, near ones together', () => {
  const text = Array.from({ length: 30 }, (_, i) => `l${i + 1}`).join('\n');
  const { lines, count } = edited(text, 'l1\n', 'first\n');
  assert.deepEqual([count, lines], [1, [{ from: 1, text: 'first\nl2\nl3\nl4' }]]);
  const two = edited(text.replace('l12', 'X').replace('l15', 'X').replace('l30', 'X'), 'X', 'Y', { all: true });
  assert.equal(two.count, 3);
  assert.deepEqual(
    two.lines.map(({ from, text: excerpt }) => [from, excerpt.split('\n').length, excerpt.split('\n')[0]]),
    [
      [9, 10, 'l9'],
      [27, 4, 'l27'],
    ],
  );
  assert.deepEqual(edited('a\nb\nc', 'b\n', ''), {
    text: 'a\nc',
    count: 1,
    lines: [{ from: 1, text: 'a\nc' }],
  });
});

test('an edit that would make too large a file is refused before it is made', () => {
  const letters = 'a'.repeat(10 * 1024 * 1024);
  const before = process.memoryUsage().rss;
  assert.throws(() => edited(letters, 'a', 'b'.repeat(46), { all: true, limit: letters.length }), {
    code: 'too_large',
    message:
      '"f" must have at most 10485760 bytes after an edit; this one would make it 482344960. Nothing was changed.',
  });
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  assert.ok(grown < 64, `a refusal took ${grown} MiB`);
  assert.equal(edited('aüa', 'a', 'bb', { all: true, limit: 6 }).text, 'bbübb');
  assert.throws(() => edited('aüa', 'a', 'bb', { all: true, limit: 5 }), { code: 'too_large' });
  assert.throws(() => edited('aüa', 'ü', '€', { limit: 4 }), { code: 'too_large' });
});

test('every occurrence is replaced, however many there are', () => {
  for (const count of [1, 4095, 4096, 4097, 10_000]) {
    const text = `<${'ab-'.repeat(count)}>`;
    const { text: got, count: found } = edited(text, 'ab', '$&c', { all: true });
    assert.deepEqual([found, got], [count, `<${'$&c-'.repeat(count)}>`]);
  }
});

test('what a container says of a failure is compared, never passed on', () => {
  const words = 'cat: /var/lib/docker/overlay2/secret: Permission denied\n';
  const error = scriptFailure('tool', 'p', words);
  assert.deepEqual([error.code, error.message], ['forbidden', `The sandbox's user has no permission for "p".`]);
  const unknown = scriptFailure('no such kind', 'p', 'gibberish');
  assert.deepEqual([unknown.code, unknown.message], ['internal', 'The sandbox could not work on "p".']);
  assert.equal(
    scriptFailure('missing $(id)', 'p', '').message,
    "This sandbox's image has no such tool, which this file operation needs.",
  );
});
