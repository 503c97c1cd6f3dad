import { AppError } from '../../errors.ts';
import { ownBash } from '../../lib/own-bash.ts';
import { type Egress, egressPaths } from './egress.ts';
import type { Runtime } from '../ports/runtime.ts';

const { directory, socket, relay, port } = egressPaths;

/** A request that the proxy answers by itself, by the way that a sandbox's programs take. */
const script = `
  coproc RELAY { ${relay} ${directory}/${socket} ${port}; } 2> /dev/null
  read -r -t 5 _ <&\${RELAY[0]} || exit 3
  exec 3<> /dev/tcp/127.0.0.1/${port} || exit 4
  printf 'GET / HTTP/1.1\\r\\nHost: berth\\r\\n\\r\\n' >&3
  read -r -t 5 line <&3
  [[ $line == 'HTTP/1.1 400 '* ]]`;

/** Whether a sandbox of this engine reaches a proxy of this server. Rejects when it cannot be tried. */
export async function egressWorks(egress: Egress, runtime: Pick<Runtime, 'trial'>): Promise<boolean> {
  const policy = { hosts: [], ports: [], bytes: 0 };
  await using door = await egress.open({ handle: 'trial', template: 'trial', policy, fresh: true });
  const mount = { source: door.directory, target: directory, readOnly: true };
  try {
    return (await runtime.trial({ argv: ownBash('/opt/berth/bash', script).argv, mounts: [mount] })) === 0;
  } catch (error) {
    // The engine does not know the directory at all.
    if (error instanceof AppError && error.code === 'internal') return false;
    throw error;
  }
}

export function egressUnreachable(): AppError {
  return new AppError(
    'unsupported',
    'The network of this template (allow-list) cannot be opened: sandboxes do not see server.state_dir, which must be the same directory for this server and for the engine.',
  );
}
