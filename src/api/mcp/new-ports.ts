import { egressPaths } from '../../sandbox/network/egress.ts';
import type { PortsPort } from '../../sandbox/ports/workspace.ts';

/** Ports that a caller has been told of, by sandbox. */
const told = new WeakMap<PortsPort, Set<number>>();

/** Sentences: what, but for the sandbox's way out, began to listen since the last command's result said so. */
export function newPortNotes(ports: PortsPort | undefined): string[] {
  if (!ports) return [];
  const now = ports.latest();
  const known = told.get(ports) ?? new Set();
  told.set(ports, new Set(now.map(({ port }) => port)));
  return now
    .filter(({ port }) => !known.has(port) && port !== egressPaths.port)
    .map(
      ({ port, program }) =>
        `port ${port} now listens${program ? ` (${program})` : ''}; share_port makes a link for the user`,
    );
}
