import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { AppError } from '../../src/errors.ts';
import { script } from '../../src/doctor/exec.ts';
import { fileTools } from '../../src/api/mcp/tools/files.ts';
import { lookInside } from '../../src/sandbox/intercept/diagnosis/facts.ts';
import { createFiles } from '../../src/sandbox/files/files.ts';
import type { Container, ContainerSpec } from '../../src/sandbox/ports/runtime.ts';
import type { FilesPort } from '../../src/sandbox/ports/workspace.ts';
import { hostImage, MiB, newInstance, specOf, sweep, testImage, testRuntime } from '../support/docker-runtime.ts';
import { eventually, run, sh } from '../support/run.ts';
import { filesContract } from './files.contract.ts';

const processes = 'for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; echo; done 2>/dev/null';

for (const image of new Set([testImage, process.env['BERTH_TEST_BUSYBOX_IMAGE'] ?? testImage])) {
  filesContract(`files in a sandbox of ${image}`, async () => {
    const { container, dispose } = await sandbox({ image });
    return { container, root: '/workspace', files: createFiles(container), shell: processes, dispose };
  });
}

describe('files in a hardened sandbox', { timeout: 120_000 }, () => {
  let container: Container;
  let files: FilesPort;
  let dispose = async () => {};
  before(async () => {
    ({ container, dispose } = await sandbox({}));
    files = createFiles(container);
  });
  after(() => dispose());

  const refused: [string, AppError['code'], RegExp, () => Promise<unknown>][] = [
    [
      'writing into a read-only system',
      'forbidden',
      /^"\/etc\/x" is on a read-only file system\.$/,
      () => files.write('/etc/x', body('x')),
    ],
    ['replacing a file of root', 'forbidden', /"\/etc\/passwd"/, () => files.write('/etc/passwd', body('x'))],
    ['reading a secret of root', 'forbidden', /no permission for "\/etc\/shadow"/, () => files.read('/etc/shadow')],
    ['listing a directory of root', 'forbidden', /no permission for "\/root"/, () => files.list('/root')],
    ['unpacking outside', 'forbidden', /read-only/, () => files.unpack('/etc/new', body('\0'.repeat(1024)))],
    [
      'more than there is room for',
      'disk_full',
      /^No space is left for "\/tmp\/big"\.$/,
      () => files.write('/tmp/big', zeros(80 * MiB)),
    ],
  ];
  for (const [title, code, message, act] of refused) {
    test(`refused: ${title}`, async () => {
      await assert.rejects(act(), (error) => {
        assert.ok(error instanceof AppError);
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        return true;
      });
      assert.equal(await sh(container, 'ls -A /tmp'), '');
    });
  }

  test('files belong to the sandbox’s user, also in tmpfs', async () => {
    await files.write('/tmp/mine', body('x'));
    await files.write('mine', body('x'));
    assert.equal(await sh(container, 'stat -c %u:%g /tmp/mine mine; rm /tmp/mine'), '1000:1000\n1000:1000\n');
  });

  test('what the kernel makes as it is read comes as far as it is asked for, and only so', async () => {
    for (const path of ['/proc/version', '/proc/self/limits', '/sys/kernel/mm/transparent_hugepage/enabled']) {
      const expected = (await sh(container, `cat ${path}`)).slice(0, 20);
      await using file = await files.open(path);
      assert.equal(file.stat.size, 0);
      const bytes = await new Response(file.read({ offset: 0, length: 64 * 1024 })).text();
      assert.equal(bytes.slice(0, 20), expected);
      assert.equal(await new Response(await files.read(path, { offset: 3, length: 5 })).text(), bytes.slice(3, 8));
      await assert.rejects(files.read(path), {
        code: 'conflict',
        message: /has no size: .* execute_command and cat\.$/,
      });
    }
  });

  test('download_file gives what the kernel makes, in parts', async () => {
    const download = fileTools.find(({ name }) => name === 'download_file')!;
    const call = { workspace: async () => ({ files }), signal: AbortSignal.timeout(10_000) };
    const part = async (args: object) => {
      const { structured } = await download.handle({ path: '/proc/version', ...args }, call as never);
      return structured ?? {};
    };
    const version = await sh(container, 'cat /proc/version');
    const whole = await part({});
    assert.deepEqual([whole['content'], whole['size'], whole['truncated']], [version, version.length, false]);
    const first = await part({ length: 5 });
    assert.deepEqual([first['content'], first['truncated'], first['next_offset']], [version.slice(0, 5), true, 5]);
    const rest = await part({ offset: 5 });
    assert.deepEqual([rest['content'], rest['offset'], rest['truncated']], [version.slice(5), 5, false]);
    assert.deepEqual((await part({ offset: version.length }))['content'], '');
  });

  test('a user’s own cat and find read no files', async () => {
    await files.write('shimmed/f', body('content'));
    const own = '/workspace/.local/bin';
    for (const tool of ['cat', 'find', 'stat', 'head']) {
      await files.write(`${own}/${tool}`, body('#!/bin/sh\necho shim\n'), { mode: 0o755 });
    }
    assert.match(await sh(container, 'cat /dev/null'), /shim/);
    assert.equal(await new Response(await files.read('shimmed/f')).text(), 'content');
    assert.equal((await files.list('shimmed')).entries.length, 1);
    await sh(container, `rm -r ${own}`);
  });

  test('a stalled download holds up neither other execs nor the removal', async () => {
    const own = await sandbox({});
    const big = createFiles(own.container);
    await big.write('big', zeros(64 * MiB));
    const reader = (await big.read('big')).getReader();
    await reader.read();
    const began = performance.now();
    for (let i = 0; i < 3; i += 1) assert.equal((await run(own.container, ['echo', 'on'])).stdout, 'on\n');
    await own.container.remove();
    assert.ok(performance.now() - began < 5000);
    const rest = async () => {
      while (!(await reader.read()).done);
    };
    await assert.rejects(rest(), (error) => error instanceof AppError && error.code === 'sandbox_lost');
    await own.dispose();
  });

  test('what feeds a download ends with it', async () => {
    await sh(container, 'truncate -s 100G sparse');
    const readers = () => sh(container, 'grep -alz "^cat" /proc/[0-9]*/cmdline || true');
    for (const give of ['cancel', 'abort'] as const) {
      const stop = new AbortController();
      const reader = (await files.read('sparse', { signal: stop.signal })).getReader();
      await reader.read();
      assert.notEqual(await readers(), '');
      if (give === 'cancel') await reader.cancel();
      else stop.abort();
      await eventually(async () => (await readers()) === '');
    }
  });

  // While its writer is dead and its reader stands still, the engine lets no other exec of the container end.
  test('a stalled download whose writer was killed lets other execs go on once it is given up', async () => {
    await files.write('stalled', zeros(64 * MiB));
    const reader = (await files.read('stalled')).getReader();
    await reader.read();
    const killing = sh(container, 'kill -9 $(grep -alz "^cat" /proc/[0-9]*/cmdline | cut -d/ -f3); echo killed');
    await setTimeout(500);
    await reader.cancel();
    assert.equal(await killing, 'killed\n');
    assert.equal((await run(container, ['echo', 'on'])).stdout, 'on\n');
  });
});

/** What images have in their environment, and what bash, its tools and the loader would make of it. */
const oddEnvironment = {
  BASH_ENV: '/workspace/.own',
  ENV: '/workspace/.own',
  SHELLOPTS: 'braceexpand:errexit:noglob:nounset:posix',
  BASHOPTS: 'failglob:nocasematch',
  POSIXLY_CORRECT: '1',
  CDPATH: '/tmp',
  GLOBIGNORE: '*',
  IFS: 'e',
  LANG: 'tr_TR.UTF-8',
  TAR_OPTIONS: '--exclude=f',
  LD_PRELOAD: '/nowhere/own.so',
  BLOCK_SIZE: '7',
  PATH: '/workspace/.bin:/usr/bin:/bin',
  'BASH_FUNC_cat%%': '() { echo own; }',
  'BASH_FUNC_read%%': '() { echo own; }',
  'BASH_FUNC_printf%%': '() { builtin echo own; }',
};

describe('an odd environment of an image', { timeout: 120_000 }, () => {
  let container: Container;
  let dispose = async () => {};
  before(async () => {
    ({ container, dispose } = await sandbox({ env: oddEnvironment }));
  });
  after(() => dispose());

  test('changes nothing for files', async () => {
    const files = createFiles(container);
    const content = async (path: string) => new Response(await files.read(path)).text();
    await files.write('.own', body('echo own; exit 1'));
    await files.write('.bin/cat', body('#!/bin/sh\necho own\n'), { mode: 0o755 });
    await files.write('d/f', body('content'), { mode: 0o640 });
    assert.equal(await content('d/f'), 'content');
    assert.deepEqual(
      (await files.list('d')).entries.map(({ path, size }) => [path, size]),
      [['f', 7]],
    );
    await files.unpack('copy', await files.archive('d'));
    assert.equal(await content('copy/f'), 'content');
    await files.edit('d/f', 'content', 'edited');
    await files.move('d/f', 'd/g');
    assert.deepEqual(
      (await files.search('EDITED')).matches.map(({ path }) => path),
      ['d/g'],
    );
    assert.ok((await new Response(await files.zip(['d'])).bytes()).length > 100);
    await files.remove('d', { recursive: true });
  });

  test('changes nothing for a look inside', async () => {
    const facts = await lookInside(container, 'disk');
    assert.ok(
      facts?.fills.some(({ path, size }) => path === '/workspace' && size > MiB),
      JSON.stringify(facts),
    );
  });

  test('changes nothing for the doctor', async () => {
    const { output, code } = await script(container, 'echo "$1" "$#"', {
      args: ['a'],
      signal: AbortSignal.timeout(9000),
    });
    assert.deepEqual([output, code], ['a 1\n', 0]);
  });
});

if (await hasBusybox()) {
  filesContract('files in a sandbox of an image that is empty', async () => {
    const { container, dispose } = await sandbox({ image: hostImage });
    return { container, root: '/workspace', files: createFiles(container), shell: null, dispose };
  });
} else {
  test('an image without tools says what it lacks', { timeout: 60_000 }, async () => {
    const { container, dispose } = await sandbox({ image: hostImage });
    try {
      await assert.rejects(createFiles(container).write('x', body('x')), {
        code: 'unsupported',
        message: "This sandbox's image has no stat, which this file operation needs.",
      });
    } finally {
      await dispose();
    }
  });
}

/** Whether the session host's image brings tools for images that have none. */
async function hasBusybox(): Promise<boolean> {
  const { container, dispose } = await sandbox({ image: hostImage });
  try {
    return (await run(container, ['/opt/berth/bash', '-c', '[[ -x /opt/berth/busybox ]]'])).code === 0;
  } finally {
    await dispose();
  }
}

async function sandbox(spec: Partial<ContainerSpec>): Promise<{
  container: Container;
  dispose: () => Promise<void>;
}> {
  const instance = newInstance();
  const runtime = testRuntime({ instance });
  const container = await runtime.open(specOf(`berth-${instance}-files`, spec));
  const dispose = async () => {
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
  };
  return { container, dispose };
}

function body(content: string): ReadableStream<Uint8Array> {
  return new Blob([content]).stream();
}

function zeros(size: number): ReadableStream<Uint8Array> {
  let left = size;
  return new ReadableStream({
    pull(controller) {
      if (left <= 0) return controller.close();
      controller.enqueue(new Uint8Array(Math.min(left, 64 * 1024)));
      left -= 64 * 1024;
    },
  });
}
