import { existsSync, readdirSync, rmSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type Egress, type EgressDoor, egressPaths, type EgressPolicy } from '../sandbox/network/egress.ts';
import { type Connect, connectTo, resolveName } from './connect.ts';
import { Gate, type Resolve } from './gate.ts';
import { Ledger } from './ledger.ts';
import { createProxy } from './proxy.ts';

export interface DoorsOptions {
  /** Where each sandbox gets a directory of its own. */
  readonly directory: string;
  readonly log: Logger;
  /** The handles of all sandboxes that there are; absent: nothing is cleared away while this runs. */
  readonly known?: () => ReadonlySet<string>;
  /** What tests put in place of the network. */
  readonly resolve?: Resolve;
  readonly connect?: Connect;
}

/** Doors opened between two looks at what is left of old ones. */
const tidyEvery = 64;

/** The most bytes that the kernel takes as a unix socket's path. */
const longestPath = 107;

/** The proxies of all sandboxes, each behind a unix socket that only its own sandbox has. */
export class Doors implements Egress {
  readonly #options: DoorsOptions;
  #opened = 0;

  constructor(options: DoorsOptions) {
    this.#options = options;
  }

  async open({ handle, template, policy, fresh }: Parameters<Egress['open']>[0]): Promise<EgressDoor> {
    const directory = join(this.#options.directory, handle);
    const path = join(directory, egressPaths.socket);
    if (Buffer.byteLength(path) > longestPath) throw tooLong(path);
    if (fresh) await rm(directory, { recursive: true, force: true });
    if (fresh && ++this.#opened % tidyEvery === 0) this.tidy();
    await mkdir(directory, { recursive: true });
    // Above it is the state directory, which nobody else may enter; below it the sandbox's user may.
    await chmod(directory, 0o755);
    await rm(path, { force: true });
    const ledger = new Ledger(policy.bytes);
    return await listen(this.#server({ handle, template, policy, ledger }), { directory, path, ledger });
  }

  /** Removes what is left of sandboxes that are no more. */
  tidy(): void {
    const { directory, known } = this.#options;
    if (!known || !existsSync(directory)) return;
    const handles = known();
    for (const handle of readdirSync(directory))
      if (!handles.has(handle)) rmSync(join(directory, handle), { recursive: true, force: true });
  }

  #server(door: { handle: string; template: string; policy: EgressPolicy; ledger: Ledger }): Server {
    const { log, resolve = resolveName, connect = connectTo } = this.#options;
    const gate = new Gate(door.template, door.policy, resolve);
    const own = log.child({ sandbox: door.handle });
    return createProxy({ gate, ledger: door.ledger, connect, log: own });
  }
}

async function listen(
  server: Server,
  { directory, path, ledger }: { directory: string; path: string; ledger: Ledger },
): Promise<EgressDoor> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket.once('close', () => sockets.delete(socket))));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(path, resolve);
  await promise;
  await chmod(path, 0o666);
  return {
    directory,
    denials: (since) => ledger.denials(since),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function tooLong(path: string): AppError {
  return new AppError(
    'internal',
    'server.state_dir: its path is too long for the sockets of templates with network: allow-list.',
    { cause: new Error(path) },
  );
}
