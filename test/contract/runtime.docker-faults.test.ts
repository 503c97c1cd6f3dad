import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { DockerOptions } from '../../src/runtimes/docker/runtime.ts';
import type { AppError } from '../../src/errors.ts';
import type { Runtime, RuntimeEvent } from '../../src/sandbox/ports/runtime.ts';
import { engine, hostImage, newInstance, specOf, sweep, testImage, testRuntime } from '../support/docker-runtime.ts';
import { EngineProxy, type Judge, type Verdict } from '../support/engine-proxy.ts';
import { eventually, run, sh } from '../support/run.ts';

describe('an engine that fails', { timeout: 180_000 }, () => {
  const instance = newInstance();
  const proxy = new EngineProxy();
  let runtime: Runtime;
  let last = 0;
  const nextSpec = () => specOf(`berth-${instance}-f${++last}`);
  const connect = (options: Partial<DockerOptions> = {}) => testRuntime({ instance, host: proxy.host, ...options });
  const ofInstance = async () =>
    await engine().listContainers({ all: true, filters: { label: [`berth.instance=${instance}`] } });

  /** One verdict for the requests that match, and no other. */
  function when(method: string, path: RegExp, verdict: Verdict, times = Infinity): void {
    let left = times;
    proxy.judge = (m, p) => (m === method && path.test(p) && left-- > 0 ? verdict : undefined);
  }

  before(async () => {
    await proxy.listen();
    runtime = connect({ callTimeout: 5 });
  });
  afterEach(async () => {
    proxy.judge = () => undefined;
    await sweep(instance);
  });
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await sweep(instance);
  });

  test('that is not there is told in one sentence', async () => {
    await using nowhere = connect({ host: 'unix:///nonexistent/engine.sock' });
    const expected = {
      code: 'engine_unavailable',
      message: 'The container engine is not running, or not where Berth looks for it.',
    };
    await assert.rejects(nowhere.engine(), expected);
    await assert.rejects(nowhere.open(nextSpec()), expected);
    await assert.rejects(nowhere.list(), expected);
  });

  for (const [what, status, message, code, told] of [
    [
      'has a full disk',
      500,
      'write /var/lib/docker/overlay2/abc: no space left on device',
      'disk_full',
      "The container engine's disk is full.",
    ],
    [
      'errs',
      500,
      'Get "/var/lib/docker/secret": unexpected',
      'internal',
      'The container engine could not create a sandbox; the log says why.',
    ],
    [
      'misses the image',
      404,
      'No such image: x',
      'image_missing',
      `The image ${testImage} is not on the container engine.`,
    ],
  ] as const)
    test(`that ${what} at the creation is told without its own words, and leaves nothing`, async () => {
      const spec = nextSpec();
      when('POST', new RegExp(`/containers/create\\?name=${spec.name}`), { status, message });
      await assert.rejects(runtime.open(spec), { code, message: told });
      assert.deepEqual(await ofInstance(), []);
      assert.deepEqual(await runtime.volumes(), []);
    });

  test('that refuses the start leaves nothing', async () => {
    when('POST', /\/start$/, { status: 500, message: 'OCI runtime create failed: /var/lib/docker/overlay2/x' });
    const error = await runtime.open(nextSpec()).catch((error: AppError) => error);
    assert.equal((error as AppError).message, 'The container engine could not start a sandbox; the log says why.');
    assert.deepEqual(await ofInstance(), []);
    assert.deepEqual(await runtime.volumes(), []);
  });

  test('that no longer starts a container that was there gets another one in its place, over the same workspace', async () => {
    const spec = nextSpec();
    const first = await runtime.open(spec);
    await sh(first, 'echo kept >/workspace/file');
    await first.stop();
    when('POST', new RegExp(`/containers/${first.id}/start`), {
      status: 500,
      message: `task ${first.id}: already exists`,
    });
    const second = await runtime.open(spec);
    assert.notEqual(second.id, first.id);
    assert.equal(await sh(second, 'cat /workspace/file'), 'kept\n');
    assert.deepEqual(
      (await ofInstance()).map(({ Id }) => Id),
      [second.id],
    );
  });

  test('that answers 304 to a start has started it', async () => {
    const spec = nextSpec();
    const container = await runtime.open(spec);
    assert.equal((await runtime.open(spec)).id, container.id);
  });

  test('that cuts its answer leaves no promise pending', async () => {
    when('GET', /\/info/, { cut: true });
    await assert.rejects(runtime.engine(), { code: 'engine_unavailable' });
  });

  test('that does not answer is given up at the deadline, and works again after', async () => {
    await using hasty = connect({ callTimeout: 1 });
    when('GET', /\/containers\/json/, { silence: true });
    const asked = performance.now();
    await assert.rejects(hasty.list(), {
      code: 'engine_unavailable',
      message: 'The container engine does not answer.',
    });
    assert.ok(performance.now() - asked < 3000);
    proxy.judge = () => undefined;
    assert.deepEqual(await hasty.list(), []);
  });

  test('that answers late is waited for within the deadline', async () => {
    when('GET', /\/containers\/json/, { delay: 1 });
    assert.deepEqual(await runtime.list(), []);
  });

  test('that creates after the deadline leaves what the reaper takes, or the next open of the name', async () => {
    await using hasty = connect({ callTimeout: 1, leftoverAge: 0 });
    const [reaped, reopened] = [nextSpec(), nextSpec()];
    when('POST', /\/containers\/create\?name=/, { delay: 2 });
    await Promise.all(
      [reaped, reopened].map((spec) => assert.rejects(hasty.open(spec), { code: 'engine_unavailable' })),
    );
    await eventually(async () => (await ofInstance()).length === 2);
    proxy.judge = onlyOf(instance);
    assert.deepEqual(await hasty.reap(new Set([reopened.name])), [reaped.name]);
    proxy.judge = () => undefined;
    assert.equal(await sh(await runtime.open(reopened), 'echo mine > file; cat file'), 'mine\n');
  });

  test('that fails to collect figures is asked once more, and none of them is taken for nothing used', async () => {
    const container = await runtime.open(nextSpec());
    const none = { read: '0001-01-01T00:00:00Z', pids_stats: {}, cpu_stats: { cpu_usage: {} }, memory_stats: {} };
    when('GET', /\/stats\?/, { answer: none }, 1);
    assert.ok((await container.usage()).pids >= 1);
    when('GET', /\/stats\?/, { answer: none });
    await assert.rejects(container.usage(), {
      code: 'engine_unavailable',
      message: 'The container engine has no figures of the sandbox.',
    });
  });

  test('that restarts mid-command is told, and the sandbox is found again', async () => {
    const container = await runtime.open(nextSpec());
    const process = await container.exec(['sleep', '60']);
    const code = process.wait();
    await proxy.stop();
    const error = await code.catch((error: AppError) => error);
    assert.ok(['engine_unavailable', 'sandbox_lost'].includes((error as AppError).code), String(error));
    await proxy.listen();
    assert.equal(await sh(container, 'echo back'), 'back\n');
  });

  test('that restarts is watched again, and that events may be lost is told', async () => {
    const stop = new AbortController();
    const told: RuntimeEvent['type'][] = [];
    const container = await runtime.open(nextSpec());
    void (async () => {
      for await (const event of runtime.events(stop.signal)) told.push(event.type);
    })();
    await proxy.stop();
    await proxy.listen();
    await eventually(() => told.includes('reconnected'), 10);
    await container.remove();
    await eventually(() => told.includes('destroy'));
    assert.deepEqual(told, ['reconnected', 'die', 'destroy']);
    stop.abort();
  });

  test('whose session host is missing says which image', async () => {
    await using without = connect({ hostImage: 'missing/host:1' });
    await assert.rejects(without.open(nextSpec()), {
      code: 'image_missing',
      message: 'The image missing/host:1 is not on the container engine.',
    });
  });

  test('that starts slowly makes the rest wait in line, and an abort leaves the line', async () => {
    await using narrow = connect({ maxParallelStarts: 1 });
    when('POST', /\/start$/, { delay: 1 }, 1);
    const first = narrow.open(nextSpec());
    const given = narrow.open(nextSpec(), AbortSignal.timeout(200));
    const third = narrow.open(nextSpec());
    await assert.rejects(given, { code: 'cancelled' });
    await Promise.all([first, third]);
    assert.equal((await narrow.list()).length, 2);
  });

  test('that does not know the runtime of the template says so', async () => {
    await assert.rejects(runtime.open({ ...nextSpec(), runtime: 'nosuch' }), {
      code: 'internal',
      message: 'The container engine does not know the runtime of this template; the log names it.',
    });
    assert.deepEqual(await ofInstance(), []);
  });

  test('whose operator mount is missing is told without the host path', async () => {
    const mounts = [{ source: '/nonexistent/data', target: '/data', readOnly: true }];
    await assert.rejects(runtime.open({ ...nextSpec(), mounts }), {
      code: 'internal',
      message: 'A mount of this template does not exist on the engine; the log names it.',
    });
    assert.deepEqual(await ofInstance(), []);
  });
});

/** Hides the containers of all other instances from a reaper that is about to take whatever it sees. */
function onlyOf(...instances: string[]): Judge {
  return async (method, path) => {
    if (path.startsWith('/volumes?')) return { answer: { Volumes: [], Warnings: [] } };
    if (method !== 'GET' || !path.startsWith('/containers/json')) return undefined;
    const filters = new URL(path, 'http://engine').searchParams.get('filters')!;
    const found = await engine().listContainers({ all: true, filters });
    return { answer: found.filter(({ Labels }) => instances.includes(Labels['berth.instance'] ?? '')) };
  };
}

describe('what is not ours', { timeout: 60_000 }, () => {
  const instance = newInstance();
  const other = newInstance();
  const proxy = new EngineProxy();
  const runtime = testRuntime({ instance, host: proxy.host, leftoverAge: 0 });
  proxy.judge = onlyOf(instance, other);
  const foreign = `foreign-${instance}`;

  before(() => proxy.listen());
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await engine()
      .getContainer(foreign)
      .remove({ force: true })
      .catch(() => {});
    await Promise.all([sweep(instance), sweep(other)]);
  });

  test('a name held by a container without our label is refused, and the container left alone', async () => {
    const { id } = await engine().createContainer({
      name: foreign,
      Image: hostImage,
      Cmd: ['/opt/berth/session-host'],
    });
    await assert.rejects(runtime.open(specOf(foreign)), {
      code: 'conflict',
      message: `The name ${foreign} belongs to a container that is not Berth's.`,
    });
    assert.equal((await engine().getContainer(id).inspect()).State.Status, 'created');
    assert.deepEqual(await runtime.volumes(), []);
  });

  test('the reaper takes ended and half-made leftovers, and nothing that runs, is known, or bears no label', async () => {
    await using peer = testRuntime({ instance: other });
    const [live, ended] = [
      await peer.open(specOf(`berth-${other}-live`)),
      await peer.open(specOf(`berth-${other}-end`)),
    ];
    await engine().getContainer(ended.id).kill();
    const own = await runtime.open(specOf(`berth-${instance}-own`));
    await engine().getContainer(own.id).kill();
    for (const name of ['half', 'known'])
      await engine().createContainer({
        name: `berth-${instance}-${name}`,
        Image: hostImage,
        Cmd: ['/opt/berth/session-host'],
        Labels: { 'berth.instance': instance },
      });
    const reaped = await runtime.reap(new Set([`berth-${instance}-known`]));
    assert.deepEqual(reaped.toSorted(), [`berth-${other}-end`, `berth-${instance}-half`].toSorted());
    assert.equal((await live.state()).running, true);
    assert.deepEqual(
      (await runtime.list()).map(({ name }) => name).toSorted(),
      [`berth-${instance}-known`, `berth-${instance}-own`].toSorted(),
    );
    assert.ok((await peer.volumes()).includes(`berth-${other}-end`));
  });
});

describe("the session host's volume", { timeout: 60_000 }, () => {
  const instance = newInstance();
  const other = `berth-session-host-${instance}`;
  const proxy = new EngineProxy();
  const runtime = testRuntime({ instance, host: proxy.host, leftoverAge: 0 });
  /** Lets the reaper see the one old volume that this test made. */
  const onlyOther: Judge = async (_method, path) =>
    path.startsWith('/volumes?') ? { answer: { Volumes: [await engine().getVolume(other).inspect()] } } : none(path);
  const none = (path: string): Verdict => (path.startsWith('/containers/json') ? { answer: [] } : undefined);

  before(() => proxy.listen());
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await sweep(instance);
  });

  test('of another version goes when no sandbox has it, and stays while one has', async () => {
    await engine().createVolume({ Name: other, Labels: { 'berth.session-host': 'sha256:old' } });
    const holder = await runtime.open(
      specOf(`berth-${instance}-holder`, { mounts: [{ source: other, target: '/old', readOnly: true }] }),
    );
    proxy.judge = onlyOther;
    await runtime.reap(new Set());
    assert.equal((await engine().getVolume(other).inspect()).Name, other);
    proxy.judge = () => undefined;
    await holder.remove();
    proxy.judge = onlyOther;
    await runtime.reap(new Set());
    await assert.rejects(engine().getVolume(other).inspect(), { statusCode: 404 });
  });
});

describe('what only an engine has', { timeout: 60_000 }, () => {
  const instance = newInstance();
  const runtime = testRuntime({ instance });
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
  });

  test('a terminal has its size soon after its start, and a new one when told', async () => {
    const container = await runtime.open(specOf(`berth-${instance}-tty`));
    const script = 'while [ "$(stty size)" = "0 0" ]; do :; done; stty size; echo $TERM; read x; stty size';
    await using process = await container.exec(['sh', '-c', script], { tty: { rows: 33, cols: 111 } });
    const reader = process.stdout.getReader();
    let text = '';
    const until = async (end: string) => {
      while (!text.endsWith(end)) text += Buffer.from((await reader.read()).value!).toString();
    };
    await until('xterm-256color\r\n');
    await process.resize(20, 70);
    const writer = process.stdin.getWriter();
    await writer.write(Buffer.from('\n'));
    await until('20 70\r\n');
    assert.equal(text, '33 111\r\nxterm-256color\r\n\r\n20 70\r\n');
    assert.equal(await process.wait(), 0);
    assert.equal(await new Response(process.stderr).text(), '');
  });

  test('ctrl-P and ctrl-P ctrl-Q reach the process', async () => {
    const container = await runtime.open(specOf(`berth-${instance}-keys`));
    const script = 'stty raw -echo; printf ready; head -c 3 | od -An -tx1';
    await using process = await container.exec(['sh', '-c', script], { tty: { rows: 24, cols: 80 } });
    const reader = process.stdout.getReader();
    let text = '';
    while (text !== 'ready') text += Buffer.from((await reader.read()).value!).toString();
    await process.stdin.getWriter().write(Uint8Array.of(0x10, 0x10, 0x11));
    for (let next = await reader.read(); !next.done; next = await reader.read()) text += Buffer.from(next.value);
    assert.equal(text.trim(), 'ready 10 10 11');
  });

  test('an image of any kind works, its entry point, user and health check notwithstanding', async () => {
    const docker = engine();
    const tag = `berth-test-${instance}`;
    const base = await docker.createContainer({ Image: testImage });
    await (base.commit as (options: object) => Promise<unknown>).call(base, {
      repo: tag,
      changes:
        'ENTRYPOINT ["/bin/false"]\nUSER root\nVOLUME /data\nHEALTHCHECK --interval=1s CMD touch /workspace/checked',
    });
    try {
      const container = await runtime.open({ ...specOf(`berth-${instance}-odd`), image: `${tag}:latest` });
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert.deepEqual(await run(container, ['sh', '-c', 'id -u; ls -A']), { stdout: '1000\n', stderr: '', code: 0 });
      const { Mounts } = await docker.getContainer(container.id).inspect();
      assert.ok(!Mounts.some(({ Type, Destination }) => Type === 'volume' && Destination === '/data'));
      await container.remove();
    } finally {
      await base.remove();
      await docker.getImage(`${tag}:latest`).remove({ force: true });
    }
  });

  test('a container short of memory is told of at most once a second', async () => {
    const container = await runtime.open(specOf(`berth-${instance}-oom`));
    const stop = new AbortController();
    const told: RuntimeEvent[] = [];
    const watched = (async () => {
      for await (const event of runtime.events(stop.signal)) told.push(event);
    })();
    const began = performance.now();
    await run(container, ['sh', '-c', 'for i in 1 2 3 4 5; do head -c 400M /dev/zero | tail -c 400M | wc -c; done']);
    await eventually(() => told.length > 0);
    const seconds = (performance.now() - began) / 1000;
    stop.abort();
    await watched;
    assert.ok(told.every((event) => event.type === 'oom' && event.container === container.id));
    assert.ok(told.length <= Math.ceil(seconds) + 1, `${told.length} in ${seconds} s`);
  });

  test('30 sandboxes asked for at once come to be, eight at a time', async () => {
    const specs = Array.from({ length: 30 }, (_, at) => specOf(`berth-${instance}-storm${at}`));
    const opened = await Promise.all(specs.map((spec) => runtime.open(spec)));
    assert.equal(new Set(opened.map(({ id }) => id)).size, 30);
    await Promise.all(opened.map((container) => container.remove()));
    assert.equal((await runtime.list()).filter(({ name }) => name.includes('storm')).length, 0);
  });
});
