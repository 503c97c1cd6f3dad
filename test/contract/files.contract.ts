import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { after, before, describe, test } from 'node:test';
import { extract, pack, type Header } from 'tar-stream';
import { AppError, type ErrorCode } from '../../src/errors.ts';
import type { Container } from '../../src/sandbox/ports/runtime.ts';
import type { FilesPort } from '../../src/sandbox/ports/workspace.ts';
import { eventually, sh } from '../support/run.ts';

export interface FilesSubject {
  readonly files: FilesPort;
  readonly container: Container;
  /** Where relative paths lead. */
  readonly root: string;
  /** Makes a shell script run beside the files in the same place; `null` where there is no shell. */
  readonly shell: string | null;
  dispose(): Promise<void>;
}

const KiB = 1024;

/** What every sandbox owes those who read and write its files, whatever its image. */
export function filesContract(name: string, start: () => Promise<FilesSubject>): void {
  describe(name, { timeout: 180_000 }, () => {
    let subject: FilesSubject;
    let files: FilesPort;
    before(async () => {
      subject = await start();
      files = subject.files;
    });
    after(() => subject.dispose());
    const run = (script: string) => sh(subject.container, `cd '${subject.root}' && ${script}`);

    describe('write and read', () => {
      for (const size of [0, 1, 51, 52, 53, 64 * KiB, 3 * 1024 * KiB + 7]) {
        test(`${size} bytes come back as they went`, async () => {
          const bytes = randomBytes(size);
          const written = await files.write('a/b/data.bin', chunked(bytes, 50_000));
          assert.equal(written.path, `${subject.root}/a/b/data.bin`);
          assert.equal(written.size, size);
          assert.equal(written.sha256, createHash('sha256').update(bytes).digest('hex'));
          assert.deepEqual(await read(files, 'a/b/data.bin'), bytes);
        });
      }

      test('ranges', async () => {
        await files.write('digits', text('0123456789'));
        const part = async (offset: number, length?: number) =>
          String(await read(files, 'digits', { offset, ...(length !== undefined && { length }) }));
        assert.equal(await part(0, 1), '0');
        assert.equal(await part(3), '3456789');
        assert.equal(await part(3, 4), '3456');
        assert.equal(await part(8, 100), '89');
        assert.equal(await part(10), '');
        assert.equal(await part(1000, 5), '');
        assert.equal(await part(5, 0), '');
      });

      test('a range far into a large file', async () => {
        const bytes = randomBytes(2048 * KiB);
        await files.write('large', chunked(bytes));
        const range = { offset: 1_234_567, length: 345_678 };
        assert.deepEqual(await read(files, 'large', range), bytes.subarray(1_234_567, 1_580_245));
      });

      test('open tells size, time and a tag that changes with the file', async () => {
        const written = await files.write('tagged', text('one'));
        const first = await facts(files, 'tagged');
        assert.equal(first.stat.size, 3);
        assert.equal(first.stat.type, 'file');
        assert.ok(Math.abs(first.stat.mtime - Date.now() / 1000) < 60);
        assert.equal(first.tag, written.tag);
        assert.match(first.tag, /^[0-9-]+$/);
        assert.equal((await facts(files, 'tagged')).tag, first.tag);
        await files.write('tagged', text('two'));
        assert.notEqual((await facts(files, 'tagged')).tag, first.tag);
      });

      test('a new file is 0644; another keeps its mode; a mode asked for is set', async () => {
        assert.equal((await files.write('mode', text('x'))).created, true);
        assert.equal((await files.stat('mode')).mode, 0o644);
        assert.equal((await files.write('mode', text('x'), { mode: 0o750 })).created, false);
        await files.write('mode', text('y'));
        assert.equal((await files.stat('mode')).mode, 0o750);
        await files.write('mode', text('y'), { mode: 0o6777 });
        assert.equal((await files.stat('mode')).mode, 0o777);
      });

      test('hostile names are only names', async () => {
        const names = [
          '-rf',
          '--help',
          "it's",
          '$(touch pwned)',
          'a\nb',
          '*',
          '\u001b[31m',
          'ü 日本',
          '`id`',
          '\\',
          ' ',
        ];
        for (const one of names) {
          await files.write(`names/${one}`, text(one));
          assert.equal(String(await read(files, `names/${one}`)), one);
        }
        const { entries } = await files.list('names');
        assert.deepEqual(entries.map(({ path }) => path).sort(), [...names].sort());
      });

      test('~ is the workspace', async () => {
        await files.write('~/home.txt', text('h'));
        assert.equal((await files.stat('home.txt')).path, `${subject.root}/home.txt`);
      });
    });

    describe('refusals say what and change nothing', () => {
      const cases: [string, ErrorCode, RegExp, (files: FilesPort) => Promise<unknown>][] = [
        ['missing', 'not_found', /^"no\/where" does not exist\.$/, (f) => f.stat('no/where')],
        ['missing to read', 'not_found', /^"no" does not exist\.$/, (f) => f.read('no')],
        ['through a file', 'not_found', /^A part of "plain\/x" is a file/, (f) => f.stat('plain/x')],
        ['reading a directory', 'conflict', /^"dir" is a directory\.$/, (f) => f.read('dir')],
        ['writing a directory', 'conflict', /^"dir" is a directory\.$/, (f) => f.write('dir', text('x'))],
        ['a name for a directory', 'invalid_argument', /names a directory/, (f) => f.write('dir/', text('x'))],
        ['under a file', 'not_found', /^A part of "plain\/x\/y" is a file/, (f) => f.write('plain/x/y', text('x'))],
        [
          'right under a file',
          'not_found',
          /^A part of "plain\/x" is a file, not a directory: "plain"\.$/,
          (f) => f.write('plain/x', text('x')),
        ],
        [
          'a tar under a file',
          'not_found',
          /^A part of "plain\/x" is a file/,
          (f) => f.unpack('plain/x', tarStream([{ name: 'a' }, 'a'])),
        ],
        ['listing a file', 'conflict', /^"plain" is not a directory\.$/, (f) => f.list('plain')],
        ['a tar of a file', 'conflict', /^"plain" is not a directory\.$/, (f) => f.archive('plain')],
        ['a NUL byte', 'invalid_argument', /NUL/, (f) => f.stat('a\0b')],
        ['a name too long', 'invalid_argument', /too long/, (f) => f.write('n'.repeat(300), text('x'))],
        ['a path too long', 'invalid_argument', /at most 4095 bytes/, (f) => f.stat('p/'.repeat(3000))],
        ['a device', 'conflict', /neither a regular file/, (f) => f.read('/dev/zero')],
        ['a bad offset', 'invalid_argument', /^offset must be/, (f) => f.read('plain', { offset: -1 })],
        ['a bad depth', 'invalid_argument', /^depth must be/, (f) => f.list('dir', { depth: 0 })],
        ['a bad glob', 'invalid_argument', /^glob must/, (f) => f.list('dir', { glob: '{a,b}'.repeat(8) })],
      ];
      before(async () => {
        await files.write('plain', text('plain'));
        await files.write('dir/inside', text('inside'));
      });
      for (const [title, code, message, act] of cases) {
        test(title, async () => {
          await assert.rejects(act(files), (error) => isError(error, code, message));
        });
      }
      after(async () => {
        assert.equal(String(await read(files, 'plain')), 'plain');
        const { entries } = await files.list('dir');
        assert.deepEqual(
          entries.map(({ path }) => path),
          ['inside'],
        );
      });
    });

    describe('an upload that breaks leaves nothing', () => {
      const listing = async () => (await files.list('.', { depth: 9 })).entries.map(({ path }) => path);
      const breaks: [string, ErrorCode | null, () => Promise<unknown>][] = [
        ['too short', 'invalid_argument', () => files.write('up/new/f', text('abc'), { size: 4 })],
        ['too long', 'invalid_argument', () => files.write('up/new/f', text('abc'), { size: 2 })],
        ['over the limit', 'too_large', () => files.write('up/new/f', text('abc'), { limit: 2 })],
        ['another digest', 'invalid_argument', () => files.write('up/new/f', text('abc'), { sha256: '0'.repeat(64) })],
        ['source fails', null, () => files.write('up/new/f', failing(200 * KiB))],
        ['source fails at once', null, () => files.write('up/new/f', failing(0))],
        ['tar source fails', 'invalid_argument', () => files.unpack('up/new', failing(10 * KiB))],
        [
          'tar cut short',
          'invalid_argument',
          async () => files.unpack('up/new', chunked((await tarOf(['f', 'x'.repeat(2000)])).subarray(0, 1600))),
        ],
      ];
      for (const [title, code, act] of breaks) {
        test(title, async () => {
          const before = await listing();
          await assert.rejects(act(), (error) => code === null || isError(error, code, /./));
          assert.deepEqual(await listing(), before);
        });
      }

      test('an abort', async () => {
        const before = await listing();
        const stop = new AbortController();
        const endless = new ReadableStream<Uint8Array>({
          async pull(controller) {
            controller.enqueue(new Uint8Array(KiB));
            await new Promise((resolve) => setTimeout(resolve, 2));
          },
        });
        setTimeout(() => stop.abort(), 300);
        const write = files.write('up/new/f', endless, { signal: stop.signal });
        await assert.rejects(write, (error) => isError(error, 'cancelled', /cancelled/));
        await eventually(async () => String(await listing()) === String(before));
      });

      test('a file that was there stays as it was', async () => {
        await files.write('kept', text('kept'), { mode: 0o600 });
        await assert.rejects(files.write('kept', failing(100 * KiB)));
        assert.equal(String(await read(files, 'kept')), 'kept');
        assert.equal((await files.stat('kept')).mode, 0o600);
      });

      test('what a killed upload left is swept by the next, and nothing else', async () => {
        const mark = '0123456789abcdef'.repeat(2);
        const kept = [
          '.berth-upload-1',
          '.berth-upload-999999999',
          `.berth-upload-1-${mark}`,
          `.berth-upload-x-${mark}`,
        ];
        for (const name of [...kept, `.berth-upload-999999999-${mark}`]) {
          await files.write(`swept/${name}`, text('left over'));
        }
        await files.write('swept/f', text('x'));
        const { entries } = await files.list('swept');
        assert.deepEqual(
          entries.map(({ path }) => path),
          [...kept, 'f'].toSorted(),
        );
      });

      test('whatever names are taken, an upload finds one of its own', async (t) => {
        if (!subject.shell) return t.skip('no shell');
        await run(
          'mkdir -p taken && cd taken && for i in $(seq 1 400); do echo .berth-upload-$((i + $$)); done | xargs touch',
        );
        assert.equal((await files.write('taken/f', text('x'))).size, 1);
        await files.unpack('taken', tarStream([{ name: 'g' }, 'g']));
        assert.equal((await files.list('taken')).entries.length, 402);
      });
    });

    describe('list', () => {
      before(async () => {
        for (const path of ['a.py', 'b.txt', '.hidden.py', 'sub/c.py', 'sub/deep/d.py', 'sub/deep/e.txt']) {
          await files.write(`tree/${path}`, text('12345'));
        }
      });
      const paths = async (options: { depth?: number; glob?: string } = {}) =>
        (await files.list('tree', options)).entries.map(({ path }) => path);

      test('one level by default, sorted', async () => {
        assert.deepEqual(await paths(), ['.hidden.py', 'a.py', 'b.txt', 'sub']);
      });
      test('deeper', async () => {
        assert.deepEqual(await paths({ depth: 2 }), ['.hidden.py', 'a.py', 'b.txt', 'sub', 'sub/c.py', 'sub/deep']);
      });
      test('globs', async () => {
        assert.deepEqual(await paths({ glob: '*.py' }), ['.hidden.py', 'a.py']);
        assert.deepEqual(await paths({ glob: '*.py', depth: 3 }), ['.hidden.py', 'a.py', 'sub/c.py', 'sub/deep/d.py']);
        assert.deepEqual(await paths({ glob: '**/*.py' }), ['.hidden.py', 'a.py', 'sub/c.py', 'sub/deep/d.py']);
        assert.deepEqual(await paths({ glob: 'sub/*/[de].{py,txt}' }), ['sub/deep/d.py', 'sub/deep/e.txt']);
      });
      test('facts of an entry', async () => {
        const { entries } = await files.list('tree', { glob: 'a.py' });
        const [entry] = entries;
        assert.deepEqual({ ...entry, mtime: 0 }, { path: 'a.py', type: 'file', size: 5, mtime: 0, mode: 0o644 });
        assert.ok(Math.abs(entry!.mtime - Date.now() / 1000) < 60);
      });
      test('an empty directory', async () => {
        await files.unpack('hollow', tarStream([{ name: 'x/', type: 'directory' }]));
        assert.deepEqual(await files.list('hollow/x'), { entries: [], truncated: false });
      });
      test('a cap', async () => {
        await files.unpack('crowd', tarStream(...Array.from({ length: 5100 }, (_, i) => [{ name: `f${i}` }] as const)));
        const { entries, truncated } = await files.list('crowd');
        assert.equal(entries.length, 5000);
        assert.equal(truncated, true);
        assert.equal((await files.list('crowd', { glob: 'f509?' })).entries.length, 10);
      });
    });

    describe('names', () => {
      const names = async (path: string) => (await files.list(path, { depth: 9 })).entries.map((entry) => entry.path);
      const odd = ['-rf', "it's", '$(touch pwned)', 'a\nb', '*', 'ü 日本', '\\', ' '];
      before(async () => {
        await files.unpack(
          'n',
          tarStream(
            [{ name: 'file' }, 'f'],
            [{ name: 'other' }, 'o'],
            [{ name: 'full/deep/f' }, 'x'],
            [{ name: 'kept/f' }, 'kept'],
            [{ name: 'to-kept', type: 'symlink', linkname: 'kept' }],
            [{ name: 'to-file', type: 'symlink', linkname: 'file' }],
            [{ name: 'dangling', type: 'symlink', linkname: 'nowhere' }],
            [{ name: 'loop', type: 'symlink', linkname: 'loop' }],
            [{ name: 'up', type: 'symlink', linkname: '..' }],
          ),
        );
      });

      test('a directory is made with those above it, once', async () => {
        assert.deepEqual(await files.makeDirectory('made/a/b/'), { path: `${subject.root}/made/a/b` });
        assert.equal((await files.stat('made/a/b')).mode, 0o755);
        const again = files.makeDirectory('made/a');
        await assert.rejects(again, (error) => isError(error, 'conflict', /^"made\/a" is there already/));
        for (const one of odd) await files.makeDirectory(`odd/${one}`);
        assert.deepEqual(await names('odd'), odd.toSorted());
      });

      test('a move keeps what it moves; odd names are only names', async () => {
        await files.write('moved/0', text('kept'), { mode: 0o751 });
        let from = 'moved/0';
        for (const one of odd) {
          const to = `moved/${one}`;
          assert.deepEqual(await files.move(from, to), {
            from: `${subject.root}/${from}`,
            to: `${subject.root}/${to}`,
          });
          from = to;
        }
        assert.deepEqual(await names('moved'), [' ']);
        assert.equal((await files.stat('moved/ ')).mode, 0o751);
        await files.move('moved', 'moved-all');
        assert.equal(String(await read(files, 'moved-all/ ')), 'kept');
      });

      test('a link itself is moved and removed, never what it leads to', async () => {
        for (const link of ['to-kept', 'dangling', 'loop', 'up']) {
          await files.move(`n/${link}`, `n/${link}2`);
          const removed = await files.remove(`n/${link}2`, { recursive: true });
          assert.deepEqual(removed, { path: `${subject.root}/n/${link}2`, type: 'symlink' });
        }
        assert.equal(String(await read(files, 'n/kept/f')), 'kept');
      });

      test('files and directories are removed', async () => {
        for (const one of odd) {
          await files.write(`gone/${one}`, text('x'));
          assert.equal((await files.remove(`gone/${one}`)).type, 'file');
        }
        assert.equal((await files.remove('gone')).type, 'directory');
        await files.write('gone/a/b/c/d', text('x'));
        await files.remove('gone/', { recursive: true });
        await assert.rejects(files.stat('gone'), { code: 'not_found' });
      });

      const refusals: [string, ErrorCode, RegExp, (f: FilesPort) => Promise<unknown>][] = [
        [
          'a move onto a file',
          'conflict',
          /^"n\/other" is there already; nothing was/,
          (f) => f.move('n/file', 'n/other'),
        ],
        ['a move onto itself', 'conflict', /is there already/, (f) => f.move('n/file', 'n/file')],
        ['a move onto an empty directory', 'conflict', /"n\/void" is there already/, (f) => f.move('n/full', 'n/void')],
        ['a move of nothing', 'not_found', /^"n\/no" does not exist/, (f) => f.move('n/no', 'n/x')],
        [
          'a move to nowhere',
          'invalid_argument',
          /that "n\/no\/x" would be in does not/,
          (f) => f.move('n/file', 'n/no/x'),
        ],
        ['a move under a file', 'invalid_argument', /would be in/, (f) => f.move('n/full', 'n/file/x')],
        ['a move into itself', 'invalid_argument', /into itself/, (f) => f.move('n/full', 'n/full/deep/in')],
        ['a directory over a file', 'conflict', /"n\/file" is there already/, (f) => f.makeDirectory('n/file')],
        ['a directory under a file', 'not_found', /A part of "n\/file\/x"/, (f) => f.makeDirectory('n/file/x')],
        ['removing nothing', 'not_found', /^"n\/no" does not exist/, (f) => f.remove('n/no', { recursive: true })],
        ['removing a full directory', 'conflict', /something in it; set recursive/, (f) => f.remove('n/full')],
        ['removing the workspace', 'invalid_argument', /must name/, (f) => f.remove('.', { recursive: true })],
        ['removing it by way of ..', 'invalid_argument', /must name/, (f) => f.remove('n/..', { recursive: true })],
        [
          'removing what holds it',
          'invalid_argument',
          /must be a part/,
          (f) => f.remove(holder(), { recursive: true }),
        ],
        ['moving it by another name', 'invalid_argument', /must be a part/, (f) => f.move(byLink(), 'n/x')],
      ];
      const above = () => subject.root.replace(/\/[^/]+$/, '') || '/';
      const byLink = () => `n/out/${subject.root.split('/').at(-1)}`;
      const holder = () => (above() === '/' ? '/' : `n/out/../${above().split('/').at(-1)}`);
      for (const [title, code, message, act] of refusals) {
        test(`refused: ${title}`, async () => {
          await files.remove('n/void').catch(() => {});
          await files.remove('n/out').catch(() => {});
          await files.makeDirectory('n/void');
          await files.unpack('n', tarStream([{ name: 'out', type: 'symlink', linkname: above() }]));
          const before = await names('n');
          const expected = above() === '/' && title === 'removing what holds it' ? /must name/ : message;
          await assert.rejects(act(files), { code, message: expected });
          assert.deepEqual(await names('n'), before);
        });
      }

      test('a list tells what may be written', async (t) => {
        await files.write('w/locked', text('x'), { mode: 0o444 });
        await files.write('w/open', text('x'));
        const { writable, entries } = await files.list('w', { writable: true });
        const root = await isRoot(subject);
        assert.equal(writable, true);
        assert.deepEqual(
          entries.map((entry) => [entry.path, entry.writable]),
          [
            ['locked', root],
            ['open', true],
          ],
        );
        assert.equal((await files.list('w')).writable, undefined);
        if (!root) assert.equal((await files.list('/etc', { writable: true })).writable, false);
        else t.diagnostic('root may write everything');
      });

      test('a list follows links one level deep', async () => {
        const tar = tarStream(
          [{ name: 'd/f' }, 'x'],
          [{ name: 'f' }, '12345'],
          [{ name: 'l-d', type: 'symlink', linkname: 'd' }],
          [{ name: 'l-f', type: 'symlink', linkname: 'f' }],
          [{ name: 'l-loop', type: 'symlink', linkname: 'l-loop' }],
          [{ name: 'l-no', type: 'symlink', linkname: 'no' }],
          [{ name: 'l-up', type: 'symlink', linkname: '..' }],
        );
        await files.unpack('follow', tar);
        const { entries } = await files.list('follow', { follow: true, writable: true });
        const kinds = Object.fromEntries(entries.map((entry) => [entry.path, entry.type]));
        assert.deepEqual(kinds, { d: 'directory', f: 'file', 'l-d': 'directory', 'l-f': 'file', 'l-up': 'directory' });
        assert.equal(entries.find(({ path }) => path === 'l-f')?.size, 5);
        const deep = files.list('follow', { follow: true, depth: 2 });
        await assert.rejects(deep, (error) => isError(error, 'invalid_argument', /from 1 to 1/));
      });
    });

    describe('search', () => {
      before(async () => {
        const tar = tarStream(
          [{ name: 'Needle.txt' }, 'nothing'],
          [{ name: 'a/in.txt' }, `one\ntwo ü NEEDLE\r\n${'needle\n'.repeat(9)}`],
          [{ name: 'a/long' }, `${'x'.repeat(5000)}needle${'y'.repeat(5000)}`],
          [{ name: 'b\nneedle:1:/c' }, 'a needle'],
          [{ name: 'needle-loop', type: 'symlink', linkname: '.' }],
          [{ name: '.git/needle' }, 'needle'],
          [{ name: 'bin' }, '\0\0needle'],
          [{ name: 'huge' }, 'needle\n'.repeat(200_000)],
          [{ name: 'umlaut' }, 'GRÜSSE\n'],
          [{ name: 'pattern' }, 'a.*b\n-e x\n'],
        );
        await files.unpack('s', tar);
      });
      const search = async (query: string, options: object = {}) => files.search(query, { path: 's', ...options });
      const paths = async (query: string, options: object = {}) =>
        (await search(query, options)).matches.map(({ path }) => path);

      test('names first, then lines', async () => {
        const { matches, truncated } = await search('needle');
        assert.deepEqual(
          matches.map(({ path, type, name, lines }) => [path, type, name, lines.length]),
          [
            ['Needle.txt', 'file', true, 0],
            ['b\nneedle:1:', 'directory', true, 0],
            ['needle-loop', 'symlink', true, 0],
            ['a/in.txt', 'file', false, 3],
            ['a/long', 'file', false, 1],
            ['b\nneedle:1:/c', 'file', false, 1],
          ],
        );
        assert.equal(truncated, false);
        assert.deepEqual(matches[3]?.lines[0], { line: 2, column: 7, text: 'two ü NEEDLE' });
        const long = matches[4]?.lines[0];
        assert.deepEqual([long?.column, long?.text.length], [5001, 300]);
        assert.match(long?.text ?? '', /xneedley/);
      });

      test('only names, only lines, hidden ones, no more than asked for', async () => {
        assert.deepEqual(await paths('needle', { content: false }), ['Needle.txt', 'b\nneedle:1:', 'needle-loop']);
        assert.deepEqual(await paths('needle', { names: false }), ['a/in.txt', 'a/long', 'b\nneedle:1:/c']);
        assert.ok((await paths('needle', { hidden: true })).includes('.git/needle'));
        const some = await search('needle', { limit: 2 });
        assert.deepEqual([some.matches.length, some.truncated], [2, true]);
      });

      test('a text is no pattern and no option', async () => {
        assert.deepEqual(await paths('A.*B'), ['pattern']);
        assert.deepEqual(await paths('-e x'), ['pattern']);
        assert.deepEqual(await paths('a.b'), []);
        assert.deepEqual(await paths('grüsse'), ['umlaut']);
      });

      test('refusals', async () => {
        const refused = (act: Promise<unknown>, code: ErrorCode, message: RegExp) =>
          assert.rejects(act, (error) => isError(error, code, message));
        await refused(search(''), 'invalid_argument', /^query must be one line of 1 to 500/);
        await refused(search('a\nb'), 'invalid_argument', /^query must be one line/);
        await refused(search('a', { limit: 0 }), 'invalid_argument', /^limit must be .* 1 to 1000; got 0/);
        await refused(search('a', { path: 'no' }), 'not_found', /^"no" does not exist/);
      });
    });

    describe('zip', () => {
      before(async () => {
        const tar = tarStream(
          [{ name: 'a.txt', mode: 0o751, mtime: new Date(1_700_000_000_000) }, 'text'],
          [{ name: 'big' }, 'x'.repeat(300_000)],
          [{ name: 'empty' }],
          [{ name: 'sub/b\\\\tn "ü 日本' }, 'odd'],
          [{ name: 'sub/void/', type: 'directory' }],
          [{ name: 'sub/loop', type: 'symlink', linkname: '..' }],
          [{ name: 'x/1' }, '1'],
          [{ name: 'x/hard', type: 'link', linkname: 'x/1' }],
        );
        await files.unpack('z', tar);
      });
      const zipped = async (...paths: string[]) => unzip(await bytesOf(await files.zip(paths)));

      test('a directory, whole', async () => {
        const entries = await zipped('z');
        assert.equal(entries['z/a.txt'], '751 text');
        assert.equal(entries['z/big'], `644 ${'x'.repeat(300_000)}`);
        assert.equal(entries['z/empty'], '644 ');
        assert.equal(entries['z/sub/b\\\\tn "ü 日本'], '644 odd');
        assert.equal(entries['z/sub/void/'], '755 ');
        assert.equal(entries['z/sub/loop'], '777 ..');
        assert.match(entries['z/x/hard'] ?? '', /^644 1$|^777 \.\.\/\.\.\/z\/x\/1$/);
      });

      test('several paths, named from where they part', async () => {
        const names = async (...paths: string[]) => Object.keys(await zipped(...paths)).toSorted();
        assert.deepEqual(await names('z/a.txt', `${subject.root}/z/x/1`), ['a.txt', 'x/1']);
        assert.deepEqual(await names('z/x/1', 'z/x/hard'), ['1', 'hard']);
        assert.deepEqual(await names('z/x/1'), ['1']);
        assert.deepEqual(await names('z/sub/b\\\\tn "ü 日本'), ['b\\\\tn "ü 日本']);
      });

      test('refusals', async () => {
        const refused = (code: ErrorCode, message: RegExp, ...paths: string[]) =>
          assert.rejects(files.zip(paths), (error) => isError(error, code, message));
        await refused('invalid_argument', /^paths must be 1 to 1000 paths; got 0\.$/);
        await refused('not_found', /^"z\/日本" does not exist\.$/, 'z/a.txt', 'z/日本');
        await refused('invalid_argument', /must not go up/, 'z/../z');
      });

      test('what cannot be read is named at the end', async (t) => {
        if (subject.shell === null || (await isRoot(subject)))
          return t.skip('needs a shell of a user that is not root');
        await files.write('zu/open', text('o'));
        await files.write('zu/shut', text('s'));
        await run('chmod 000 zu/shut');
        const entries = await zipped('zu');
        assert.equal(entries['zu/open'], '644 o');
        assert.equal(Object.keys(entries).at(-1), 'NOT-IN-THIS-ARCHIVE.txt');
        assert.match(entries['NOT-IN-THIS-ARCHIVE.txt'] ?? '', /\.\/zu\/shut\n/);
      });

      test('one that is given up ends its tar', async (t) => {
        if (subject.shell === null) return t.skip('no shell');
        await run('mkdir -p zs && truncate -s 20G zs/sparse');
        const reader = (await files.zip(['zs'])).getReader();
        await reader.read();
        await reader.cancel();
        await eventually(async () => !(await sh(subject.container, `${subject.shell}; true`)).includes('-c -f -'));
        await files.remove('zs', { recursive: true });
      });
    });

    describe('edit', () => {
      test('replaces once, keeps the mode, shows the lines around', async () => {
        await files.write('e.txt', text('1\n2\n3\n4\n5\n6\n7\n8\n9\n'), { mode: 0o755 });
        const edited = await files.edit('e.txt', '5\n', 'five\n5b\n');
        assert.deepEqual(edited, {
          path: `${subject.root}/e.txt`,
          count: 1,
          lines: [{ from: 2, text: '2\n3\n4\nfive\n5b\n6\n7\n8' }],
        });
        assert.equal(String(await read(files, 'e.txt')), '1\n2\n3\n4\nfive\n5b\n6\n7\n8\n9\n');
        assert.equal((await files.stat('e.txt')).mode, 0o755);
      });
      test('must be unambiguous', async () => {
        await files.write('e2.txt', text('a\nb a\na\n'));
        const twice = /must occur exactly once in "e2.txt", but occurs 3 times \(lines 1, 2, 3\)/;
        await assert.rejects(files.edit('e2.txt', 'a', 'x'), (error) => isError(error, 'invalid_argument', twice));
        assert.equal((await files.edit('e2.txt', 'a', '$&', { all: true })).count, 3);
        assert.equal(String(await read(files, 'e2.txt')), '$&\nb $&\n$&\n');
      });
      test('must be there, in text', async () => {
        await files.write('e3.txt', text('a  b\r\n'));
        const hint = /does not occur in "e3.txt"; nothing was changed\. With other white space/;
        await assert.rejects(files.edit('e3.txt', 'a b\n', 'x'), (error) => isError(error, 'invalid_argument', hint));
        await files.write('e4.bin', chunked(Buffer.from([0xff, 0xfe, 0x41])));
        await assert.rejects(files.edit('e4.bin', 'A', 'x'), (error) =>
          isError(error, 'invalid_argument', /not UTF-8/),
        );
      });
      test('never makes a file that is too large to edit again', async () => {
        await files.write('e5.txt', text('a'.repeat(1024 * KiB)));
        const edit = files.edit('e5.txt', 'a', 'b'.repeat(46), { all: true });
        await assert.rejects(edit, (error) => isError(error, 'too_large', /would make it 48234496\. Nothing was/));
        assert.equal((await files.stat('e5.txt')).size, 1024 * KiB);
      });
      test('keeps a byte order mark and line ends', async () => {
        await files.write('bom.txt', text('\ufeffone\r\ntwo\r\n'));
        await files.edit('bom.txt', 'two', 'zwei');
        assert.equal((await read(files, 'bom.txt')).toString('utf8'), '\ufeffone\r\nzwei\r\n');
      });
      test('several at once wait for each other', async () => {
        await files.write('many.txt', text('a b c d e f'));
        const letters = ['a', 'b', 'c', 'd', 'e', 'f'];
        await Promise.all(letters.map((letter) => files.edit('many.txt', letter, letter.toUpperCase())));
        assert.equal(String(await read(files, 'many.txt')), 'A B C D E F');
        const mixed = [files.edit('many.txt', 'no', 'x'), files.edit('./many.txt', 'A', 'a')];
        assert.deepEqual(
          (await Promise.allSettled(mixed)).map(({ status }) => status),
          ['rejected', 'fulfilled'],
        );
      });
      test('fails when the file changed meanwhile', async () => {
        const { tag } = await files.write('race', text('1'));
        await files.write('race', text('2'));
        const write = files.write('race', text('3'), { unchanged: tag! });
        await assert.rejects(write, (error) => isError(error, 'conflict', /changed while/));
        assert.equal(String(await read(files, 'race')), '2');
      });
    });

    describe('tar', () => {
      test('a directory there and back', async () => {
        const long = `${'long'.repeat(30)}/${'x'.repeat(150)}`;
        const entries = { 'a.txt': 'alpha', 'd/e.sh': 'echo', [long]: 'deep', ü: 'umlaut', empty: '' };
        for (const [path, content] of Object.entries(entries)) await files.write(`src/${path}`, text(content));
        await files.write('src/d/e.sh', text('echo'), { mode: 0o755 });
        const tar = await bytesOf(await files.archive('src'));
        assert.deepEqual(await files.unpack('copy/of', chunked(tar, 777)), { files: 5, bytes: 19 });
        for (const [path, content] of Object.entries(entries))
          assert.equal(String(await read(files, `copy/of/${path}`)), content);
        assert.equal((await files.stat('copy/of/d/e.sh')).mode, 0o755);
        const again = await namesIn(await bytesOf(await files.archive('copy/of')));
        assert.deepEqual(again.sort(), (await namesIn(tar)).sort());
      });

      test('merges into what is there', async () => {
        await files.write('merge/keep', text('keep'));
        await files.write('merge/d/old', text('old'));
        await files.write('merge/d/replaced', text('old'));
        await files.unpack('merge', tarStream([{ name: 'd/replaced' }, 'new'], [{ name: 'd/new/n' }, 'n']));
        const { entries } = await files.list('merge', { depth: 3 });
        const found = entries.filter(({ type }) => type === 'file').map(({ path }) => path);
        assert.deepEqual(found, ['d/new/n', 'd/old', 'd/replaced', 'keep']);
        assert.equal(String(await read(files, 'merge/d/replaced')), 'new');
      });

      test('links come, wherever they point, and nothing is written through them', async () => {
        const links = tarStream(
          [{ name: 'bin/python', type: 'symlink', linkname: '/usr/bin/python3' }],
          [{ name: 'rel', type: 'symlink', linkname: '../..' }],
          [{ name: 'file' }, 'f'],
          [{ name: 'hard', type: 'link', linkname: 'file' }],
        );
        assert.deepEqual(await files.unpack('links', links), { files: 4, bytes: 1 });
        const { entries } = await files.list('links', { depth: 2 });
        const targets = Object.fromEntries(entries.map(({ path, target }) => [path, target]));
        assert.equal(targets['bin/python'], '/usr/bin/python3');
        assert.equal(targets['rel'], '../..');
        assert.equal(String(await read(files, 'links/hard')), 'f');
      });

      test('set-user-id and sticky bits are dropped', async () => {
        await files.unpack(
          'suid',
          tarStream([{ name: 's', mode: 0o7755 }, 's'], [{ name: 'd/', type: 'directory', mode: 0o3777 }]),
        );
        assert.equal((await files.stat('suid/s')).mode, 0o755);
        assert.equal((await files.stat('suid/d')).mode & 0o7000, 0);
      });

      test('a FIFO is left out and named', async () => {
        const tar = tarStream([{ name: 'a' }, 'a'], [{ name: 'run/fifo', type: 'fifo' }], [{ name: 'b' }, 'b']);
        assert.deepEqual(await files.unpack('piped', tar), { files: 2, bytes: 2, skipped: ['run/fifo'] });
        assert.deepEqual(
          (await files.list('piped')).entries.map(({ path }) => path),
          ['a', 'b'],
        );
      });

      const hostile: [string, RegExp, ErrorCode, Entries][] = [
        ['..', /"\.\.\/x" has a name outside/, 'invalid_argument', [[{ name: '../x' }, 'x']]],
        ['.. inside', /outside/, 'invalid_argument', [[{ name: 'a/../../x' }, 'x']]],
        ['an absolute name', /"\/etc\/x" has a name outside/, 'invalid_argument', [[{ name: '/etc/x' }, 'x']]],
        [
          'a device',
          /neither a file/,
          'invalid_argument',
          [[{ name: 'n', type: 'character-device', devmajor: 1, devminor: 3 }]],
        ],
        [
          'a hard link out',
          /link to no file/,
          'invalid_argument',
          [[{ name: 'h', type: 'link', linkname: '/etc/passwd' }]],
        ],
        [
          'through a link',
          /through a symbolic link/,
          'invalid_argument',
          [[{ name: 'l', type: 'symlink', linkname: '/tmp' }], [{ name: 'l/x' }, 'x']],
        ],
        [
          'a file over a directory',
          /swap .* at "dir" in "hostile"; nothing/,
          'conflict',
          [
            [{ name: 'new' }, 'x'],
            [{ name: 'dir' }, 'x'],
          ],
        ],
        ['a directory over a file', /swap .* at "file" in "hostile"/, 'conflict', [[{ name: 'file/x' }, 'x']]],
      ];
      for (const [title, message, code, entries] of hostile) {
        test(`refused whole: ${title}`, async () => {
          await files.write('hostile/dir/inside', text('inside'));
          await files.write('hostile/file', text('file'));
          const unpack = files.unpack('hostile', tarStream([{ name: 'first' }, 'first'], ...entries));
          await assert.rejects(unpack, (error) => isError(error, code, message));
          const { entries: left } = await files.list('hostile', { depth: 3 });
          assert.deepEqual(
            left.map(({ path }) => path),
            ['dir', 'dir/inside', 'file'],
          );
        });
      }

      test('refused whole: a directory over a link that leads nowhere', async () => {
        await files.unpack(
          'dang',
          tarStream([{ name: 'd', type: 'symlink', linkname: '/nowhere' }], [{ name: 'a' }, 'old']),
        );
        const unpack = files.unpack(
          'dang',
          tarStream([{ name: 'a' }, 'new'], [{ name: 'd/x' }, 'x'], [{ name: 'e' }, 'e']),
        );
        await assert.rejects(unpack, (error) => isError(error, 'conflict', /swap .* at "d" in "dang"; nothing/));
        assert.equal(String(await read(files, 'dang/a')), 'old');
        const { entries } = await files.list('dang');
        assert.deepEqual(
          entries.map(({ path }) => path),
          ['a', 'd'],
        );
        const onto = files.unpack('dang/d', tarStream([{ name: 'a' }, 'a']));
        await assert.rejects(onto, (error) =>
          isError(error, 'not_found', /"dang\/d" is a symbolic link that leads nowhere/),
        );
      });

      test('a name of 4 KiB in the way is named in part', async () => {
        const deep = Array.from({ length: 8 }, (_, i) => String(i).repeat(250)).join('/');
        await files.write(`deep/${deep}/f`, text('f'));
        const unpack = files.unpack('deep', tarStream([{ name: `${deep}/f/x` }, 'x']));
        await assert.rejects(unpack, (error) => isError(error, 'conflict', /swap .*…" in "deep"; nothing/));
      });

      test('refused whole: into a directory that is closed', async (t) => {
        if (!subject.shell || (await run('id -u')).trim() === '0') return t.skip('nothing is closed to root');
        await files.write('closed/a', text('old'));
        await files.write('closed/shut/inside', text('old'));
        await run('chmod 555 closed/shut');
        const unpack = files.unpack('closed', tarStream([{ name: 'a' }, 'new'], [{ name: 'shut/x' }, 'x']));
        await assert.rejects(unpack, (error) =>
          isError(error, 'forbidden', /may not write to "shut" in "closed"; nothing was changed/),
        );
        assert.equal(String(await read(files, 'closed/a')), 'old');
        await files.unpack('closed', tarStream([{ name: 'a' }, 'new'], [{ name: 'shut/', type: 'directory' }]));
        assert.equal(String(await read(files, 'closed/a')), 'new');
        await run('chmod 755 closed/shut');
      });

      test('not a tar', async () => {
        for (const body of ['', 'x'.repeat(5000)])
          await assert.rejects(files.unpack('t', text(body)), (error) =>
            isError(error, 'invalid_argument', /plain tar/),
          );
        const gzip = chunked(Buffer.from([0x1f, 0x8b, 8, 0]));
        await assert.rejects(files.unpack('t', gzip), (error) => isError(error, 'invalid_argument', /gzip/));
      });
    });

    test('links are followed, also when written', async (t) => {
      if (!subject.shell) return t.skip('no shell');
      await run(
        'mkdir -p ln && echo real > ln/real && ln -s real ln/link && ln -s nowhere ln/dangling && ln -s loop ln/loop',
      );
      assert.equal(String(await read(files, 'ln/link')), 'real\n');
      await files.write('ln/link', text('through\n'));
      assert.equal(await run('readlink ln/link; cat ln/real'), 'real\nthrough\n');
      await assert.rejects(files.stat('ln/dangling'), (error) => isError(error, 'not_found', /./));
      await assert.rejects(files.stat('ln/loop'), (error) => isError(error, 'not_found', /loop of links/));
    });

    test('a FIFO does not block', async (t) => {
      if (!subject.shell) return t.skip('no shell');
      await run('mkfifo pipe');
      await assert.rejects(files.read('pipe'), (error) => isError(error, 'conflict', /neither a regular file/));
      await assert.rejects(files.write('pipe', text('x')), (error) => isError(error, 'conflict', /neither a regular/));
    });

    test('a file cut short while it is read is an error, not a short body', async (t) => {
      if (!subject.shell) return t.skip('no shell');
      await files.write('shrinks', chunked(randomBytes(8 * 1024 * KiB)));
      const reader = (await files.read('shrinks')).getReader();
      await reader.read();
      await run(': > shrinks');
      const rest = async () => {
        while (!(await reader.read()).done);
      };
      await assert.rejects(rest(), (error) => isError(error, 'conflict', /cut short/));
    });

    test('nothing runs on after a transfer, whole, given up or aborted', async (t) => {
      if (!subject.shell) return t.skip('no shell');
      await files.write('flow', chunked(randomBytes(8 * 1024 * KiB)));
      await (await files.read('flow')).cancel();
      const reader = (await files.read('flow')).getReader();
      await reader.read();
      await reader.cancel();
      const stop = new AbortController();
      const aborted = await files.archive('.', stop.signal);
      stop.abort();
      await assert.rejects(bytesOf(aborted), (error) => isError(error, 'cancelled', /cancelled/));
      await using file = await files.open('flow');
      await file[Symbol.asyncDispose]();
      await eventually(async () => !(await run(`${subject.shell} || true`)).includes('berth-upload'));
    });
  });
}

type Entries = readonly (readonly [Partial<Header> & { name: string }, string?])[];

function isError(error: unknown, code: ErrorCode, message: RegExp): true {
  assert.ok(error instanceof AppError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  assert.match(error.message, /^[^\n]+[.]$/);
  assert.doesNotMatch(error.message, /overlay|berth-fake|var\/lib/);
  return true;
}

function text(content: string): ReadableStream<Uint8Array> {
  return chunked(Buffer.from(content));
}

function chunked(bytes: Uint8Array, size = 64 * KiB): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + size));
      at += size;
    },
  });
}

/** Some bytes, then an error, as of a client that has gone. */
function failing(size: number): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (sent || size === 0) throw new Error('the client has gone');
      sent = true;
      controller.enqueue(new Uint8Array(size));
    },
  });
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The entries of a zip whose files are stored as they are: `MODE CONTENT` by name, as its directory has them. */
function unzip(zip: Buffer): Record<string, string> {
  const entries: Record<string, string> = {};
  const end = zip.lastIndexOf('PK\u0005\u0006');
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    const [size, nameLength, extra] = [zip.readUInt32LE(at + 24), zip.readUInt16LE(at + 28), zip.readUInt16LE(at + 30)];
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength);
    const local = zip.readUInt32LE(at + 42);
    const from = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const content = zip.subarray(from, from + size);
    assert.equal(zip.readUInt32LE(at + 16), crc32(content), name);
    entries[name] = `${(zip.readUInt16LE(at + 40) & 0o777).toString(8)} ${content.toString('utf8')}`;
    at += 46 + nameLength + extra;
  }
  return entries;
}

/** Whether the files are worked on as root, who may do what no mode forbids. */
async function isRoot({ container, shell }: FilesSubject): Promise<boolean> {
  return shell !== null && (await sh(container, 'id -u')).trim() === '0';
}

async function read(files: FilesPort, path: string, range: { offset?: number; length?: number } = {}): Promise<Buffer> {
  return await bytesOf(await files.read(path, range));
}

async function facts(files: FilesPort, path: string) {
  await using file = await files.open(path);
  return { stat: file.stat, tag: file.tag };
}

function tarStream(...entries: Entries): ReadableStream<Uint8Array> {
  const tar = pack();
  for (const [header, content] of entries) tar.entry(header, content ?? '');
  tar.finalize();
  const iterator = (tar as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

async function tarOf(...files: [string, string][]): Promise<Buffer> {
  return await bytesOf(tarStream(...files.map(([name, content]) => [{ name }, content] as const)));
}

async function namesIn(tar: Uint8Array): Promise<string[]> {
  const names: string[] = [];
  const reading = extract();
  reading.end(tar);
  for await (const entry of reading) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
}
