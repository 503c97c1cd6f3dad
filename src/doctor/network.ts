import { networkInterfaces } from 'node:os';
import { createServer, connect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import type { Container } from '../sandbox/ports/runtime.ts';
import { script } from './exec.ts';

export interface Place {
  readonly address: string;
  readonly port: number;
}

/** How a connection was answered: `connected` and `refused` both come from the place itself. `silent`: not at all. */
export type Answer = 'connected' | 'refused' | 'rejected' | 'silent';

/** Each connection on its own, so that one that hangs holds up nobody; all are ended after three seconds. */
const prober = `
  exec 4<&0
  pids=()
  for place; do
    ( exec 3<> "/dev/tcp/\${place% *}/\${place##* }" && echo "\${place% *} \${place##* } connected" ) & pids+=($!)
  done
  ( read -r -t 3 -u 4; kill -9 "\${pids[@]}" ) > /dev/null 2>&1 & watch=$!
  wait "\${pids[@]}"
  kill $watch`;

/** Tries every place from inside. Rejects when the sandbox cannot even reach itself: then nothing was tried. */
export async function knock(
  container: Container,
  places: readonly Place[],
  signal: AbortSignal,
): Promise<ReadonlyMap<Place, Answer>> {
  const self: Place = { address: '127.0.0.1', port: 1 };
  const args = [self, ...places].map(({ address, port }) => `${address} ${port}`);
  const { output } = await script(container, prober, { args, signal });
  if (answerOf(output, self) !== 'refused') throw new Error('the probe could not reach its own loopback');
  return new Map(places.map((place) => [place, answerOf(output, place)]));
}

function answerOf(output: string, { address, port }: Place): Answer {
  if (output.includes(`${address} ${port} connected\n`)) return 'connected';
  const line = output.split('\n').find((line) => line.includes(`/dev/tcp/${address}/${port}: `));
  if (line === undefined) return 'silent';
  return line.endsWith('Connection refused') ? 'refused' : 'rejected';
}

export const isReached = (answer: Answer | undefined): boolean => answer === 'connected' || answer === 'refused';

/** Asks the proxy in the sandbox for a tunnel to each place; its status lines. Empty where no proxy listens. */
export async function askProxy(
  container: Container,
  places: readonly Place[],
  signal: AbortSignal,
): Promise<ReadonlyMap<Place, string>> {
  const text = `
    for place; do
      exec 3<> /dev/tcp/127.0.0.1/3128 || exit
      printf 'CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' "$place" "$place" >&3
      read -r -t 3 line <&3 && echo "$place $line"
      exec 3>&-
    done`;
  const named = places.map((place) => [place, written(place)] as const);
  const { output } = await script(container, text, { args: named.map(([, name]) => name), signal });
  const lines = output.split('\n');
  return new Map(
    named.flatMap(([place, name]) => {
      const line = lines.find((line) => line.startsWith(`${name} HTTP/`));
      return line === undefined ? [] : [[place, line.slice(name.length + 1).trim()] as const];
    }),
  );
}

export function written({ address, port }: Place): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The addresses a container has besides its loopback, from the kernel's own table. Rejects where there is none. */
export async function addressesOf(container: Container, signal: AbortSignal): Promise<readonly string[]> {
  const table = await script(container, 'echo "$(< /proc/net/fib_trie)"', { signal });
  if (!table.output.includes('127.0.0.1')) throw new Error('the kernel lists no addresses, not even the loopback');
  const found = table.output.matchAll(/(\d+\.\d+\.\d+\.\d+)\n\s+\/32 host LOCAL/g);
  return [...new Set([...found].map(([, address]) => address!))].filter((address) => !address.startsWith('127.'));
}

/** A listener on a free port of every address that this host has. */
export interface HostPort extends AsyncDisposable {
  /** Those where the doctor itself was let in. */
  readonly places: readonly Place[];
}

export async function openHostPort(): Promise<HostPort> {
  const server = createServer((socket) => socket.on('error', () => {}).end('reached'));
  const close = async () => {
    server.close();
  };
  await listen(server, '::').catch(() => listen(server, '0.0.0.0'));
  const { port } = server.address() as AddressInfo;
  const tried = await Promise.all(
    hostAddresses().map(async (address) => ((await answers(address, port)) ? address : '')),
  );
  const places = tried.filter(Boolean).map((address) => ({ address, port }));
  return { places, [Symbol.asyncDispose]: close };
}

async function listen(server: ReturnType<typeof createServer>, host: string): Promise<void> {
  server.listen(0, host);
  await once(server, 'listening');
}

/** Link-local IPv6 has no meaning beyond its link. */
function hostAddresses(): readonly string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return [...new Set(all.map(({ address }) => address))].filter((address) => !/^fe80:|^127\.|^::1$/.test(address));
}

/** Whether the place answers this process within a second. */
async function answers(address: string, port: number): Promise<boolean> {
  const socket = connect({ host: address, port });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(1000) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
