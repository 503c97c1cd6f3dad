import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { AppError } from '../../src/errors.ts';
import type { Container, ContainerSpec, Process, Runtime, RuntimeEvent } from '../../src/sandbox/ports/runtime.ts';
import { specOf } from '../support/docker-runtime.ts';
import { eventually, run, sh } from '../support/run.ts';

/** What the suite needs besides the port, to play the part of an operator and of fate. */
export interface Subject {
  readonly instance: string;
  readonly runtime: Runtime;
  /** As `docker kill`. */
  kill(container: Container): Promise<void>;
  dispose(): Promise<void>;
}

/** What every runtime owes the domain. */
export function runtimeContract(name: string, start: () => Promise<Subject>): void {
  describe(name, { timeout: 180_000 }, () => {
    let subject: Subject;
    let shared: Container;
    let last = 0;
    const nextSpec = (more: Partial<ContainerSpec> = {}) => specOf(`berth-${subject.instance}-s${++last}`, more);
    const open = (more?: Partial<ContainerSpec>) => subject.runtime.open(nextSpec(more));
    const records = async (wanted: string) => (await subject.runtime.list()).filter(({ name }) => name === wanted);

    before(async () => {
      subject = await start();
      shared = await open();
    });
    after(async () => {
      for (const record of await subject.runtime.list()) await subject.runtime.container(record).remove();
      assert.deepEqual(await subject.runtime.list(), []);
      for (const volume of await subject.runtime.volumes()) await subject.runtime.removeVolume(volume);
      assert.deepEqual(await subject.runtime.volumes(), []);
      await subject.dispose();
    });

    describe('open', () => {
      test('starts a container that is listed with its labels', async () => {
        const spec = nextSpec({ labels: { 'berth.sandbox': 'x1', 'berth.template': 'base' } });
        const container = await subject.runtime.open(spec);
        const [record, ...more] = await records(spec.name);
        assert.deepEqual(more, []);
        assert.equal(record?.id, container.id);
        assert.equal(record?.state, 'running');
        assert.equal(record?.labels['berth.instance'], subject.instance);
        assert.equal(record?.labels['berth.sandbox'], 'x1');
        assert.equal(record?.labels['berth.template'], 'base');
        assert.ok(Math.abs(record.created - Date.now() / 1000) < 60);
        assert.deepEqual(await container.state(), { running: true, paused: false, exitCode: null, oomKilled: false });
      });

      test('answers one container to many calls with one name', async () => {
        const spec = nextSpec();
        const opened = await Promise.all(Array.from({ length: 5 }, () => subject.runtime.open(spec)));
        assert.equal(new Set(opened.map(({ id }) => id)).size, 1);
        assert.equal((await records(spec.name)).length, 1);
      });

      test('starts a container again that had ended', async () => {
        const spec = nextSpec();
        const first = await subject.runtime.open(spec);
        await subject.kill(first);
        await eventually(async () => !(await first.state()).running);
        const second = await subject.runtime.open(spec);
        assert.equal(second.id, first.id);
        assert.equal(await sh(second, 'echo up'), 'up\n');
      });

      test('starts a stopped container again, with its workspace and none of its processes', async () => {
        const spec = nextSpec();
        const first = await subject.runtime.open(spec);
        await using process = await first.exec(['sh', '-c', 'echo kept > note; sleep 60']);
        await sh(first, 'until [ -s note ]; do sleep 0.01; done');
        await first.stop();
        await first.stop();
        await assert.rejects(process.wait(), { code: 'sandbox_lost' });
        assert.equal((await first.state()).running, false);
        await assert.rejects(first.usage(), { code: 'sandbox_lost' });
        assert.equal((await subject.runtime.find(spec.name))?.state, 'exited');
        const second = await subject.runtime.open(spec);
        assert.equal(second.id, first.id);
        assert.equal(await sh(second, 'cat note'), 'kept\n');
      });

      test('makes a stopped container anew when another spec is asked for', async () => {
        const spec = nextSpec({ labels: { 'berth.spec': 'one' } });
        const first = await subject.runtime.open(spec);
        const other = { ...spec, labels: { 'berth.spec': 'two' } };
        assert.equal((await subject.runtime.open(other)).id, first.id, 'one that runs is left alone');
        await first.stop();
        const second = await subject.runtime.open(other);
        assert.notEqual(second.id, first.id);
        assert.equal(await sh(second, 'echo up'), 'up\n');
        assert.equal((await records(spec.name)).length, 1);
      });

      test('finds a container by its name, and none where there is none', async () => {
        const spec = nextSpec({ labels: { 'berth.sandbox': 'x2' } });
        const container = await subject.runtime.open(spec);
        const record = await subject.runtime.find(spec.name);
        assert.deepEqual([record?.id, record?.name, record?.state], [container.id, spec.name, 'running']);
        assert.equal(record?.labels['berth.sandbox'], 'x2');
        assert.equal(await subject.runtime.find(`${spec.name}-none`), undefined);
      });

      test('names a missing image and leaves nothing', async () => {
        const spec = nextSpec({ image: 'missing/image:1' });
        await assert.rejects(subject.runtime.open(spec), {
          code: 'image_missing',
          message: 'The image missing/image:1 is not on the container engine.',
        });
        assert.deepEqual(await records(spec.name), []);
        assert.ok(!(await subject.runtime.volumes()).includes(spec.volume.name));
      });

      test('leaves nothing when it is cancelled before it begins', async () => {
        const spec = nextSpec();
        await assert.rejects(subject.runtime.open(spec, AbortSignal.abort()), { code: 'cancelled' });
        assert.deepEqual(await records(spec.name), []);
      });

      test('leaves all or nothing at whatever moment it is cancelled', async () => {
        const specs = Array.from({ length: 12 }, () => nextSpec());
        const outcomes = await Promise.allSettled(
          specs.map((spec, at) => subject.runtime.open(spec, AbortSignal.timeout(1 + at * 20))),
        );
        for (const [at, outcome] of outcomes.entries()) {
          if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'cancelled');
          const expected = outcome.status === 'rejected' ? 0 : 1;
          await eventually(async () => (await records(specs[at]!.name)).length === expected);
          const kept = async () => (await subject.runtime.volumes()).includes(specs[at]!.volume.name);
          await eventually(async () => (await kept()) === (expected === 1));
        }
      });

      test('serves a name again at once after a cancelled open of it', async () => {
        const spec = nextSpec();
        const cancel = new AbortController();
        const first = subject.runtime.open(spec, cancel.signal);
        setTimeout(() => cancel.abort(), 15);
        await assert.rejects(first).catch(() => {});
        const second = await subject.runtime.open(spec);
        assert.equal(await sh(second, 'echo again'), 'again\n');
        assert.equal((await records(spec.name)).length, 1);
      });

      test('against removals at once, ends with none or a working one', async () => {
        const spec = nextSpec();
        const first = await subject.runtime.open(spec);
        const [second] = await Promise.allSettled([subject.runtime.open(spec), first.remove(), first.remove()]);
        const left = await records(spec.name);
        assert.ok(left.length <= 1);
        if (left.length === 0) return;
        assert.equal(second.status, 'fulfilled');
        assert.equal(left[0]?.state, 'running');
      });
    });

    describe('exec', () => {
      test('gives both streams apart and the exit code', async () => {
        const script = 'echo out; echo err >&2; exit 3';
        assert.deepEqual(await run(shared, ['sh', '-c', script]), { stdout: 'out\n', stderr: 'err\n', code: 3 });
      });

      for (const [script, code] of [
        ['true', 0],
        ['exit 255', 255],
        ['kill -9 $$', 137],
        ['kill -TERM $$', 143],
      ] as const)
        test(`answers ${code} to ${script}`, async () => {
          assert.deepEqual(await run(shared, ['sh', '-c', script]), { stdout: '', stderr: '', code });
        });

      test('answers 126 or 127 to a program that is not there', async () => {
        const { code } = await run(shared, ['/no/such/program']);
        assert.ok(code === 126 || code === 127, `got ${code}`);
      });

      test('passes arguments as they are', async () => {
        const odd = ['', ' ', '$HOME', '"', "'", '\n', '*', 'ü', '-n'];
        const { stdout } = await run(shared, ['printf', '[%s]', ...odd]);
        assert.equal(stdout, odd.map((argument) => `[${argument}]`).join(''));
      });

      test('passes the environment, over that of the container', async () => {
        const container = await open({ env: { A: 'from spec', B: 'kept' } });
        const { stdout } = await run(container, ['sh', '-c', 'echo "$A,$B,$C"'], { env: { A: 'own', C: 'x=y z' } });
        assert.equal(stdout, 'own,kept,x=y z\n');
      });

      test('runs in the workspace, or where it is told', async () => {
        await sh(shared, 'mkdir -p sub && echo here > sub/f');
        assert.equal(await sh(shared, 'cat sub/f'), 'here\n');
        assert.equal((await run(shared, ['cat', 'f'], { cwd: '/workspace/sub' })).stdout, 'here\n');
      });

      test('ends stdin alone when it is closed', async () => {
        const { stdout, code } = await run(shared, ['sh', '-c', 'cat; echo end'], { input: 'in\n' });
        assert.deepEqual({ stdout, code }, { stdout: 'in\nend\n', code: 0 });
      });

      test('carries any bytes both ways, those of a frame header too', async () => {
        const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
        const header = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
        const input = Buffer.concat([every, header, randomBytes(3 * 1024 * 1024), Buffer.from('é').subarray(0, 1)]);
        await using process = await shared.exec(['cat']);
        const [echoed] = await Promise.all([digest(process.stdout), feed(process, input), drain(process.stderr)]);
        assert.deepEqual(echoed, { bytes: input.length, sha256: sha256(input) });
        assert.equal(await process.wait(), 0);
      });

      test('holds a writer whose reader does not read, and loses nothing', async () => {
        const size = 50 * 1024 * 1024;
        const script = `head -c ${size} /dev/zero; echo done > written`;
        await using process = await shared.exec(['sh', '-c', `rm -f written; ${script}`]);
        await new Promise((resolve) => setTimeout(resolve, 500));
        assert.equal((await run(shared, ['cat', 'written'])).code, 1);
        const [{ bytes }] = await Promise.all([digest(process.stdout), drain(process.stderr)]);
        assert.equal(bytes, size);
        assert.equal(await process.wait(), 0);
        assert.equal(await sh(shared, 'cat written'), 'done\n');
      });

      test('goes on when one stream is cancelled', async () => {
        await using process = await shared.exec(['sh', '-c', 'head -c 1000000 /dev/zero; echo end >&2']);
        await process.stdout.cancel();
        assert.equal(await new Response(process.stderr).text(), 'end\n');
        assert.equal(await process.wait(), 0);
      });

      test('lets other processes run beside one that nobody reads', async () => {
        await using flood = await shared.exec(['head', '-c', '30000000', '/dev/zero']);
        for (let i = 0; i < 5; i++) assert.equal(await sh(shared, `echo ${i}`), `${i}\n`);
        assert.ok(flood);
      });

      test('leaves nothing pending when it is disposed unread', async () => {
        const process = await shared.exec(['head', '-c', '30000000', '/dev/zero']);
        const code = process.wait();
        await process[Symbol.asyncDispose]();
        await assert.rejects(code, { code: 'cancelled' });
        await assert.rejects(drain(process.stdout), { code: 'cancelled' });
        await assert.rejects(process.stdin.getWriter().write(new Uint8Array(1)), { code: 'sandbox_lost' });
        assert.equal(await sh(shared, 'echo ok'), 'ok\n');
      });

      test('ends with its signal', async () => {
        const cancel = new AbortController();
        const process = await shared.exec(['cat'], { signal: cancel.signal });
        const code = process.wait();
        cancel.abort();
        await assert.rejects(code, { code: 'cancelled' });
        await assert.rejects(drain(process.stdout), { code: 'cancelled' });
        await assert.rejects(shared.exec(['true'], { signal: cancel.signal }), { code: 'cancelled' });
      });

      test('holds neither a descriptor nor a process after a hundred cut connections', async () => {
        const before = readdirSync('/proc/self/fd').length;
        const { pids } = await shared.usage();
        for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 10 }, () => cutShort(shared)));
        await eventually(() => readdirSync('/proc/self/fd').length <= before + 12);
        await eventually(async () => (await shared.usage()).pids <= pids).catch(async () =>
          assert.fail(`still there: ${await sh(shared, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "')}`),
        );
      });

      test('answers the same code to every wait', async () => {
        await using process = await shared.exec(['sh', '-c', 'exit 4']);
        await Promise.all([drain(process.stdout), drain(process.stderr)]);
        assert.deepEqual(await Promise.all([process.wait(), process.wait()]), [4, 4]);
        assert.equal(await process.wait(), 4);
      });
    });

    describe('the end of a container', () => {
      test('a removal mid-command is told within a second', async () => {
        const container = await open();
        const process = await container.exec(['sleep', '60']);
        const code = process.wait();
        const removed = performance.now();
        await Promise.all([container.remove(), assert.rejects(code, { code: 'sandbox_lost' })]);
        assert.ok(performance.now() - removed < 2000);
        await drain(process.stdout).catch(() => {});
        await assert.rejects(container.exec(['true']), { code: 'sandbox_lost' });
        await assert.rejects(container.state(), { code: 'sandbox_lost' });
      });

      test('a kill mid-command is told within a second', async () => {
        const container = await open();
        const process = await container.exec(['sleep', '60']);
        const code = process.wait();
        const killed = performance.now();
        await Promise.all([subject.kill(container), assert.rejects(code, { code: 'sandbox_lost' })]);
        assert.ok(performance.now() - killed < 2000);
        await Promise.allSettled([drain(process.stdout), drain(process.stderr)]);
        await assert.rejects(container.exec(['true']), { code: 'sandbox_lost' });
        assert.deepEqual(await container.state(), { running: false, paused: false, exitCode: 137, oomKilled: false });
      });

      test('removal is the same however often it is asked for', async () => {
        const container = await open();
        await Promise.all([container.remove(), container.remove(), container.remove()]);
        await container.remove();
        assert.deepEqual(await records(container.name), []);
      });

      test('removal is not held up by a transfer that stalls', async () => {
        const container = await open();
        await container.exec(['cat', '/dev/zero']);
        await container.exec(['sh', '-c', 'cat > /dev/null']);
        await new Promise((resolve) => setTimeout(resolve, 200));
        const asked = performance.now();
        await container.remove();
        assert.ok(performance.now() - asked < 5000);
      });

      test('die and destroy are told in this order', async () => {
        const stop = new AbortController();
        const events = subject.runtime.events(stop.signal);
        const container = await open();
        const told = collect(events, container.id, 2);
        await container.remove();
        assert.deepEqual(await told, [
          { type: 'die', container: container.id, exitCode: 137 },
          { type: 'destroy', container: container.id },
        ]);
        stop.abort();
      });
    });

    describe('pause', () => {
      test('refuses a new process, and keeps the running ones for resume', async () => {
        const container = await open();
        await using process = await container.exec(['sh', '-c', 'echo; read line; echo "got $line"']);
        // An engine may lose a process that is paused while it starts.
        const output = process.stdout.getReader();
        await output.read();
        await container.pause();
        await container.pause();
        assert.equal((await container.state()).paused, true);
        await assert.rejects(container.exec(['true']), { code: 'busy', message: 'The sandbox is paused.' });
        await container.resume();
        await container.resume();
        const writer = process.stdin.getWriter();
        await writer.write(Buffer.from('this\n'));
        assert.equal(Buffer.from((await output.read()).value ?? []).toString(), 'got this\n');
      });

      test('does not hold up the removal', async () => {
        const container = await open();
        await container.pause();
        await container.remove();
        assert.deepEqual(await records(container.name), []);
      });
    });

    describe('volumes', () => {
      test('outlive the container and are found by the next', async () => {
        const spec = nextSpec();
        const first = await subject.runtime.open(spec);
        await sh(first, 'echo kept > file');
        await first.remove();
        assert.ok((await subject.runtime.volumes()).includes(spec.volume.name));
        const second = await subject.runtime.open(spec);
        assert.notEqual(second.id, first.id);
        assert.equal(await sh(second, 'cat file'), 'kept\n');
      });

      test('are removed with what is in them, once or twice', async () => {
        const spec = nextSpec();
        const container = await subject.runtime.open(spec);
        await sh(container, 'echo gone > file');
        await container.remove();
        await subject.runtime.removeVolume(spec.volume.name);
        await subject.runtime.removeVolume(spec.volume.name);
        assert.ok(!(await subject.runtime.volumes()).includes(spec.volume.name));
        assert.equal((await run(await subject.runtime.open(spec), ['cat', 'file'])).code, 1);
      });
    });

    test('a container is reached by its record alone', async () => {
      const [record] = await records(shared.name);
      assert.equal(await sh(subject.runtime.container(record!), 'echo known'), 'known\n');
    });

    test('usage is told in bytes and seconds', async () => {
      const usage = await shared.usage();
      assert.ok(usage.memory > 0 && usage.memory <= usage.memoryLimit);
      assert.ok(usage.pids >= 1 && usage.pids <= usage.pidsLimit);
      assert.ok(usage.cpuSeconds >= 0 && usage.cpuSeconds < 600);
    });

    test('the engine describes itself', async () => {
      const info = await subject.runtime.engine();
      assert.ok(info.name && info.version && info.os && info.arch && info.storage);
      assert.match(info.cgroup, /^v[12]$/);
      assert.ok(info.runtimes.length > 0);
    });
  });
}

async function cutShort(container: Container): Promise<void> {
  const process = await container.exec(['sh', '-c', 'echo started; cat']);
  await process.stdout.getReader().read();
  await process[Symbol.asyncDispose]();
}

async function feed(process: Process, bytes: Uint8Array): Promise<void> {
  const writer = process.stdin.getWriter();
  await writer.write(bytes);
  await writer.close();
}

async function drain(stream: ReadableStream<Uint8Array>): Promise<void> {
  await digest(stream);
}

async function digest(stream: ReadableStream<Uint8Array>): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function collect(events: AsyncIterable<RuntimeEvent>, container: string, count: number): Promise<RuntimeEvent[]> {
  const found: RuntimeEvent[] = [];
  for await (const event of events) {
    if (event.type !== 'reconnected' && event.container === container) found.push(event);
    if (found.length === count) break;
  }
  return found;
}

/** The code of a rejection, for tests that look at several. */
export function codeOf(error: unknown): string {
  return error instanceof AppError ? error.code : String(error);
}
