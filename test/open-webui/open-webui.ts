import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { User } from './user.ts';
import { Unavailable, type Installed } from './venv.ts';

const admin = { email: 'admin@example.com', password: 'admin-password' };

export interface Start {
  readonly installed: Installed;
  /** The model's base address. */
  readonly model: string;
  /** As the admin would paste them. */
  readonly connections: readonly object[];
  readonly env?: Record<string, string>;
}

/** A real Open WebUI in a process of its own, with an empty database that goes when it does. */
export class OpenWebUi implements AsyncDisposable {
  readonly url: string;
  readonly secret: string;
  readonly #child: ChildProcess;
  readonly #data: string;

  private constructor(url: string, secret: string, child: ChildProcess, data: string) {
    [this.url, this.secret, this.#child, this.#data] = [url, secret, child, data];
  }

  static async start({ installed, model, connections, env }: Start): Promise<OpenWebUi> {
    const data = mkdtempSync(join(tmpdir(), 'open-webui-'));
    const port = await freePort();
    const secret = randomUUID();
    const out = openSync(join(data, 'log'), 'w');
    const child = spawn(installed.program, ['serve', '--host', '127.0.0.1', '--port', String(port)], {
      cwd: data,
      stdio: ['ignore', out, out],
      env: {
        ...process.env,
        ...settings(data, secret, model),
        TOOL_SERVER_CONNECTIONS: JSON.stringify(connections),
        ...env,
      },
    });
    const webui = new OpenWebUi(`http://127.0.0.1:${port}`, secret, child, data);
    await webui.#ready();
    return webui;
  }

  async #ready(): Promise<void> {
    for (let waited = 0; waited < 240; waited++) {
      if (this.#child.exitCode !== null)
        throw new Unavailable(`Open WebUI ended with exit code ${this.#child.exitCode}:\n${this.log().slice(-3000)}`);
      const up = await fetch(`${this.url}/health`)
        .then((answer) => answer.ok)
        .catch(() => false);
      if (up) return;
      await sleep(500);
    }
    throw new Unavailable(`Open WebUI did not come up within two minutes:\n${this.log().slice(-3000)}`);
  }

  log(): string {
    return readFileSync(join(this.#data, 'log'), 'utf8');
  }

  admin(): Promise<User> {
    return User.signIn(this.url, admin.email, admin.password);
  }

  /** A new account, signed in. */
  async user(name: string): Promise<User> {
    const owner = await this.admin();
    const account = { name, email: `${name.toLowerCase()}@example.com`, password: `${name}-password-1`, role: 'user' };
    await owner.post('/api/v1/auths/add', account);
    return User.signIn(this.url, account.email, account.password);
  }

  async group(name: string, members: readonly User[]): Promise<void> {
    const owner = await this.admin();
    const { id } = await owner.post<{ id: string }>('/api/v1/groups/create', { name, description: '' });
    await owner.post(`/api/v1/groups/id/${id}/users/add`, { user_ids: members.map((user) => user.id) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#data, { recursive: true, force: true });
  }
}

function settings(data: string, secret: string, model: string): Record<string, string> {
  return {
    DATA_DIR: data,
    WEBUI_SECRET_KEY: secret,
    WEBUI_ADMIN_EMAIL: admin.email,
    WEBUI_ADMIN_PASSWORD: admin.password,
    OPENAI_API_BASE_URL: model,
    OPENAI_API_KEY: 'none',
    ENABLE_OLLAMA_API: 'false',
    ENABLE_PERSISTENT_CONFIG: 'false',
    BYPASS_MODEL_ACCESS_CONTROL: 'true',
    RAG_EMBEDDING_ENGINE: 'openai',
    OFFLINE_MODE: 'true',
    HF_HUB_OFFLINE: '1',
    ANONYMIZED_TELEMETRY: 'false',
    ENABLE_VERSION_UPDATE_CHECK: 'false',
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
