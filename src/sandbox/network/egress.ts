import type { Denial } from '../intercept/diagnosis/diagnose.ts';

/** What of the network a sandbox may reach through its proxy. */
export interface EgressPolicy {
  /** Names such as `example.org`, `*.example.org` (any name below it), `*` (any public host). */
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  /** Targets as `host:port`, lower-case, whose addresses may be private ones. */
  readonly privates?: readonly string[];
  /** Bytes in both directions together, for one container. */
  readonly bytes: number;
}

/** The port behind which the proxies stand that a sandbox without a network goes through. */
export interface Egress {
  /** Opens the way out of one sandbox. `fresh` starts over; otherwise a running container goes on with what it has. */
  open(sandbox: { handle: string; template: string; policy: EgressPolicy; fresh: boolean }): Promise<EgressDoor>;
}

/** Disposing ends every connection through it. */
export interface EgressDoor extends AsyncDisposable {
  /** A directory of this host, to be mounted at `egressPaths.directory`. */
  readonly directory: string;
  /** Refusals from a moment of the monotonic clock on, the last one last. */
  denials(since: number): readonly Denial[];
}

/** Where the way out is inside a sandbox. */
export const egressPaths = {
  directory: '/run/berth',
  /** In that directory. */
  socket: 'proxy',
  relay: '/opt/berth/egress-relay',
  port: 3128,
} as const;

const proxy = `http://127.0.0.1:${egressPaths.port}`;
/** A sandbox's own names: no proxy leads there. `berth` is its host name. */
const direct = 'localhost,127.0.0.1,::1,0.0.0.0,berth';

/** What pip, npm, git, curl, apt and Node look at. */
export const proxyVariables: Readonly<Record<string, string>> = {
  HTTP_PROXY: proxy,
  HTTPS_PROXY: proxy,
  http_proxy: proxy,
  https_proxy: proxy,
  NO_PROXY: direct,
  no_proxy: direct,
  NODE_USE_ENV_PROXY: '1',
};
