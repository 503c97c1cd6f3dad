import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ruleset } from '../../src/runtimes/docker/open-network.ts';
import type { Container, ContainerSpec, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { engine, newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { eventually, run } from '../support/run.ts';

const execute = promisify(execFile);
const isRoot = process.getuid?.() === 0;
/** A host of the internet, and the metadata service: both in a network namespace of this test's own. */
const [internet, metadata] = ['198.51.100.77', '169.254.169.254'];
const namespace = 'berth-test-open';
const serve = `
import socket, sys, threading
def loop(address, port):
  s = socket.create_server((address, port))
  while True:
    c, _ = s.accept()
    c.sendall(b'reached'); c.close()
for spec in sys.argv[1:]:
  address, port = spec.split(':')
  threading.Thread(target=loop, args=(address, int(port))).start()
print('ready', flush=True)`;

const skip = !isRoot && 'needs root on the engine’s host';

describe('the open network', { skip, timeout: 120_000 }, () => {
  const instance = newInstance();
  const undo = new AsyncDisposableStack();
  let runtime: Runtime;
  let host: Server;
  let port = 0;
  let last = 0;

  const open = (network: ContainerSpec['network']) => runtime.open(specOf(`berth-${instance}-${++last}`, { network }));
  const reach = async (from: Container, address: string, to: number) => {
    const script = `exec 3<>/dev/tcp/${address}/${to} && cat <&3`;
    return (await run(from, ['timeout', '3', 'bash', '-c', script])).stdout;
  };
  const addressOf = async (container: Container) => {
    const { NetworkSettings } = await engine().getContainer(container.id).inspect();
    return Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? '';
  };
  const gatewayOf = async (container: Container) => {
    const { NetworkSettings } = await engine().getContainer(container.id).inspect();
    return Object.values(NetworkSettings.Networks)[0]?.Gateway ?? '';
  };
  /** Answers everybody with `reached`, until the container ends. */
  const listenIn = async (container: Container) => {
    const listener = await container.exec(['python3', '-c', serve, '0.0.0.0:8000']);
    await listener.stdout.getReader().read();
    undo.defer(() => listener[Symbol.asyncDispose]());
  };

  before(async () => {
    runtime = testRuntime({ instance });
    undo.use(runtime);
    host = createServer((socket) => socket.on('error', () => {}).end('reached')).listen(0, '0.0.0.0');
    await once(host, 'listening');
    undo.defer(() => void host.close());
    port = (host.address() as AddressInfo).port;
    const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });
    const inside = (...args: string[]) => ip('netns', 'exec', namespace, 'ip', ...args);
    ip('netns', 'add', namespace);
    undo.defer(() => void ip('netns', 'del', namespace));
    ip('link', 'add', 'berth-t0', 'type', 'veth', 'peer', 'name', 'berth-t1', 'netns', namespace);
    ip('addr', 'add', '198.51.100.1/32', 'dev', 'berth-t0');
    ip('link', 'set', 'berth-t0', 'up');
    for (const address of [internet, metadata]) {
      inside('addr', 'add', `${address}/32`, 'dev', 'berth-t1');
      ip('route', 'add', `${address}/32`, 'dev', 'berth-t0');
    }
    inside('link', 'set', 'berth-t1', 'up');
    inside('link', 'set', 'lo', 'up');
    inside('route', 'add', '198.51.100.1/32', 'dev', 'berth-t1');
    inside('route', 'add', 'default', 'via', '198.51.100.1');
    const listeners = spawn('ip', [
      'netns',
      'exec',
      namespace,
      'python3',
      '-c',
      serve,
      `${internet}:443`,
      `${metadata}:80`,
    ]);
    undo.defer(() => void listeners.kill('SIGKILL'));
    await once(listeners.stdout, 'data');
  });
  after(async () => {
    for (const record of await runtime.list()) await runtime.container(record).remove();
    await undo.disposeAsync();
    await sweep(instance);
  });

  test('leads to the internet, and neither to the host nor to its metadata service', async () => {
    const [guarded, bare] = [await open('open'), await open('unprotected')];
    const [own, other] = [await gatewayOf(guarded), await gatewayOf(bare)];
    assert.equal(await reach(bare, internet, 443), 'reached', 'control');
    assert.equal(await reach(bare, metadata, 80), 'reached', 'control');
    assert.equal(await reach(bare, other, port), 'reached', 'control');
    assert.equal(await reach(guarded, internet, 443), 'reached');
    assert.equal(await reach(guarded, metadata, 80), '');
    for (const address of [own, other, '198.51.100.1']) assert.equal(await reach(guarded, address, port), '', address);
  });

  test('is more than a sandbox without a network has, which reaches nothing at all', async () => {
    const [closed, bare, peer] = [await open('none'), await open('unprotected'), await open('unprotected')];
    await listenIn(peer);
    const targets = [
      [internet, 443],
      [metadata, 80],
      [await gatewayOf(bare), port],
      ['198.51.100.1', port],
      [await addressOf(peer), 8000],
    ] as const;
    for (const [address, to] of targets) {
      assert.equal(await reach(bare, address, to), 'reached', `control: ${address}`);
      assert.equal(await reach(closed, address, to), '', address);
    }
    assert.equal((await run(closed, ['getent', 'hosts', 'example.org'])).stdout, '');
    assert.equal((await run(closed, ['sh', '-c', 'ls /sys/class/net'])).stdout, 'lo\n');
  });

  test('leads to no other sandbox, on this bridge or another', async () => {
    const [one, two] = [await open('open'), await open('open')];
    const [bare, listener] = [await open('unprotected'), await open('unprotected')];
    for (const each of [two, listener]) await listenIn(each);
    assert.equal(await reach(bare, await addressOf(listener), 8000), 'reached', 'control');
    assert.equal(await reach(two, '127.0.0.1', 8000), 'reached', 'control');
    assert.equal(await reach(one, await addressOf(two), 8000), '');
    assert.equal(await reach(one, await addressOf(listener), 8000), '');
    assert.equal(await reach(bare, await addressOf(two), 8000), '');
  });

  test('does not lead to a port that a container publishes on the host', async () => {
    const published = await engine().createContainer({
      name: `berth-${instance}-published`,
      Image: 'berth/base:latest',
      Cmd: ['python3', '-c', serve, '0.0.0.0:8000'],
      Labels: { 'berth.instance': instance },
      ExposedPorts: { '8000/tcp': {} },
      HostConfig: { PortBindings: { '8000/tcp': [{ HostPort: '' }] } },
    });
    await published.start();
    undo.defer(async () => void (await published.remove({ force: true }).catch(() => {})));
    const { NetworkSettings } = await published.inspect();
    const onHost = Number(NetworkSettings.Ports['8000/tcp']?.[0]?.HostPort);
    const [guarded, bare] = [await open('open'), await open('unprotected')];
    const gateway = await gatewayOf(bare);
    await eventually(async () => (await reach(bare, gateway, onHost)) === 'reached', 10);
    for (const address of [gateway, await gatewayOf(guarded)]) assert.equal(await reach(guarded, address, onHost), '');
  });

  test('gets its rules back before the next start when the host has lost them', async () => {
    const guarded = await open('open');
    for (const [chain, target] of [
      ['DOCKER-USER', 'BERTH-OUT'],
      ['INPUT', 'BERTH-IN'],
    ] as const)
      await execute('iptables', ['-D', chain, '-i', 'berth0', '-j', target]);
    assert.equal(await reach(guarded, metadata, 80), 'reached', 'control');
    await open('open');
    assert.equal(await reach(guarded, metadata, 80), '');
  });
});

test('the rules let the host’s resolvers answer, on port 53 alone', () => {
  const lines = ruleset(['10.0.0.2']).split('\n');
  const at = (start: string) => lines.findIndex((line) => line.startsWith(start));
  assert.ok(at('-A BERTH-OUT -d 10.0.0.2/32 -p udp --dport 53 -j RETURN') > 0);
  assert.ok(at('-A BERTH-OUT -d 10.0.0.2/32 -p tcp --dport 53 -j RETURN') < at('-A BERTH-OUT -d 10.0.0.0/8'));
  assert.equal(lines.filter((line) => line.includes('RETURN')).length, 3);
});
