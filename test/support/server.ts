import { Writable } from 'node:stream';
import { createApp, type AppContext } from '../../src/compose/app.ts';
import type { App } from '../../src/api/http/served-app.ts';
import { loadConfig, type Config } from '../../src/config.ts';
import { listen } from '../../src/api/http/server.ts';
import { createLogger } from '../../src/log.ts';
import type { Sandboxes } from '../../src/sandbox/sandboxes.ts';
import { FakeSandboxes } from './fake-sandboxes.ts';

export interface TestServer<S extends Sandboxes = FakeSandboxes> extends AsyncDisposable {
  /** Without a path. */
  readonly url: string;
  /** `<url>/mcp` */
  readonly mcp: string;
  readonly app: App;
  readonly config: Config;
  readonly sandboxes: S;
  /** The server's log lines, parsed. */
  readonly logged: Record<string, unknown>[];
  /** Sets what `draining()` says. */
  draining: boolean;
  close(drain?: number): Promise<void>;
}

export interface TestServerOptions<S extends Sandboxes> {
  /** Settings as a YAML file's object would hold them. */
  readonly config?: Record<string, Record<string, unknown>>;
  readonly sandboxes?: S;
  readonly context?: Partial<AppContext>;
  readonly headersTimeout?: number;
}

/** The real application on a free port of the loopback, over fake sandboxes unless others are given. */
export async function startServer<S extends Sandboxes = FakeSandboxes>(
  options: TestServerOptions<S> = {},
): Promise<TestServer<S>> {
  const sandboxes = options.sandboxes ?? (new FakeSandboxes() as Sandboxes as S);
  const config = testConfig(options.config);
  const logged: Record<string, unknown>[] = [];
  const log = createLogger({ level: 'debug', format: 'json' }, sink(logged));
  const context: AppContext = {
    config,
    log,
    sandboxes,
    version: '0.0.0-test',
    linkKey: Buffer.alloc(32, 'test'),
    draining: () => server.draining,
    ...options.context,
  };
  const app = createApp(context);
  const http = await listen(app, '127.0.0.1', 0, options);
  const server: TestServer<S> = {
    url: http.url,
    mcp: `${http.url}/mcp`,
    app,
    config,
    sandboxes,
    logged,
    draining: false,
    close: (drain) => http.close(drain),
    [Symbol.asyncDispose]: () => http.close(),
  };
  return server;
}

/** The defaults, with these settings over them. */
export function testConfig(settings: Record<string, Record<string, unknown>> = {}): Config {
  const overrides = Object.entries(settings).flatMap(([group, values]) =>
    Object.entries(values).map(([key, value]) => ({ key: `${group}.${key}`, value: value as string, flag: '--test' })),
  );
  return loadConfig({ env: {}, overrides }).config;
}

function sink(lines: Record<string, unknown>[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).split('\n')) if (line) lines.push(JSON.parse(line) as Record<string, unknown>);
      done();
    },
  });
}
