import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { dirname, join, normalize } from 'node:path';

/** Web servers for any number of names, on the loopback alone: `directory/<host>/…` as files, over HTTP and HTTPS. */
export class Origin implements AsyncDisposable {
  readonly directory: string;
  readonly requests: string[] = [];
  readonly #servers: Server[] = [];
  #ports: { readonly 80: number; readonly 443: number } = { 80: 0, 443: 0 };

  constructor(directory: string) {
    this.directory = directory;
  }

  async start(): Promise<void> {
    const [key, cert] = selfSigned(this.directory);
    const serve: RequestListener = (req, res) => {
      const host = String(req.headers.host).replace(/:\d+$/, '');
      this.requests.push(`${req.method} ${host}${req.url}`);
      if (req.method === 'POST') return void req.pipe(res);
      const file = join(this.directory, host, normalize(`/${(req.url ?? '/').replace(/\?.*$/, '')}`));
      const stats = statSync(file, { throwIfNoEntry: false });
      if (!stats) return void res.writeHead(404).end();
      const found = stats.isDirectory() ? join(file, 'index.html') : file;
      const type = found.endsWith('.html') ? 'text/html' : 'application/octet-stream';
      createReadStream(found)
        .on('error', () => res.destroy())
        .pipe(res.writeHead(200, { 'content-type': type, 'content-length': statSync(found).size }));
    };
    this.#servers.push(createServer(serve), createSecureServer({ key, cert }, serve));
    for (const server of this.#servers) await once(server.listen(0, '127.0.0.1'), 'listening');
    const [plain, secure] = this.#servers.map((server) => (server.address() as AddressInfo).port);
    this.#ports = { 80: plain ?? 0, 443: secure ?? 0 };
  }

  /** The loopback's port behind one of the web's. */
  port(asked: number): number {
    return asked === 443 ? this.#ports[443] : this.#ports[80];
  }

  write(path: string, content: string | Buffer): void {
    const file = join(this.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      (server as ReturnType<typeof createServer>).closeAllConnections();
      server.close();
    }
  }
}

function selfSigned(directory: string): readonly [string, string] {
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const names = 'subjectAltName=DNS:*.test,DNS:pypi.test,DNS:git.test';
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', ...made, '-days', '2', '-subj', '/CN=test', '-addext', names], {
    stdio: 'ignore',
  });
  return [readFileSync(key, 'utf8'), readFileSync(cert, 'utf8')];
}
