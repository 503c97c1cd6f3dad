import { existsSync, readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import type { Logger } from '../../log.ts';
import { AppError } from '../../errors.ts';
import { abortable, type Engine } from './client.ts';
import { statusOf } from './errors.ts';
import { openNetwork } from './spec.ts';
import { tool } from './tool.ts';
import { detached } from '../../lib/detached.ts';

const { name: network, bridge } = openNetwork;

/** What no sandbox reaches besides the host itself: its networks, a cloud's metadata, other bridges, what is no address. */
const forbidden = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

const recheck = 30_000;
const reject = '-j REJECT --reject-with icmp-admin-prohibited';

/**
 * A bridge for sandboxes that may reach the internet and nothing nearer: not the host's ports, not its networks, not
 * one another. The rules are the host's own; they are put in place before each start and looked after in between.
 */
export class OpenNetwork implements Disposable {
  readonly #engine: Engine;
  readonly #log: Logger;
  #ready: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: Engine, { log }: { log: Logger }) {
    this.#engine = engine;
    this.#log = log;
  }

  /** Resolves when the network is there with its rules. Rejects `unsupported` where this process cannot set them. */
  async ready(): Promise<void> {
    this.#ready ??= this.#protect().finally(() => (this.#ready = undefined));
    await this.#ready;
    this.#timer ??= setInterval(() => detached(this.#renew()), recheck).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #protect(): Promise<void> {
    if (process.getuid?.() !== 0 || this.#engine.address.socketPath === undefined) throw unprotected();
    await this.#create();
    if (!existsSync(`/sys/class/net/${bridge}`)) throw unprotected();
    try {
      await setRules(nameservers());
    } catch (cause) {
      throw unprotected(cause);
    }
  }

  /** Whatever flushes the host's rules takes these along. */
  async #renew(): Promise<void> {
    try {
      await setRules(nameservers());
    } catch (err) {
      this.#log.error({ event: 'network.unprotected', err }, 'The rules of the open network could not be renewed.');
    }
  }

  async #create(): Promise<void> {
    const options = {
      'com.docker.network.bridge.name': bridge,
      'com.docker.network.bridge.enable_icc': 'false',
    };
    const body = { Name: network, Driver: 'bridge', CheckDuplicate: true, EnableIPv6: false, Options: options };
    try {
      await this.#engine.call({ doing: 'make a network' }, (abortSignal) =>
        this.#engine.docker.createNetwork(abortable(body, abortSignal)),
      );
    } catch (error) {
      if (statusOf(error) !== 409) throw error;
    }
  }
}

async function setRules(nameservers: readonly string[]): Promise<void> {
  await tool('iptables-restore', ['--wait', '5', '--noflush'], ruleset(nameservers));
  for (const [chain, target] of [
    ['DOCKER-USER', 'BERTH-OUT'],
    ['INPUT', 'BERTH-IN'],
  ] as const) {
    const rule = ['-i', bridge, '-j', target];
    const first = await tool('iptables', ['--wait', '5', '-S', chain]).then((text) => text.split('\n')[1]);
    if (first === `-A ${chain} ${rule.join(' ')}`) continue;
    await tool('iptables', ['--wait', '5', '-I', chain, '1', ...rule]);
  }
}

/** Both chains, replaced as one. Names are resolved by the resolvers of the host, which may be on its networks. */
export function ruleset(nameservers: readonly string[]): string {
  const resolvers = nameservers.flatMap((address) =>
    ['udp', 'tcp'].map((protocol) => `-A BERTH-OUT -d ${address}/32 -p ${protocol} --dport 53 -j RETURN`),
  );
  return [
    '*filter',
    ':BERTH-OUT - [0:0]',
    ':BERTH-IN - [0:0]',
    `-A BERTH-OUT -o ${bridge} ${reject}`,
    ...resolvers,
    ...forbidden.map((range) => `-A BERTH-OUT -d ${range} ${reject}`),
    '-A BERTH-OUT -j RETURN',
    `-A BERTH-IN ${reject}`,
    'COMMIT',
    '',
  ].join('\n');
}

const resolverFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** The host's resolvers that a container asks directly; one on the loopback is asked by the engine itself. */
function nameservers(): readonly string[] {
  const lines = resolverFiles
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  const found = lines.flatMap((line) => /^nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  return [...new Set(found)].filter((address) => isIPv4(address) && !address.startsWith('127.'));
}

function unprotected(cause?: unknown): AppError {
  return new AppError(
    'unsupported',
    'The network of this template is open, and here nothing can keep its sandboxes from the host, its networks and one another; the operator may allow that with network_open_unprotected.',
    { cause },
  );
}
