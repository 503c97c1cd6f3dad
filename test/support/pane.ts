import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { WebSocket } from 'ws';

export const sessionSecret = 'the-secret-of-the-chat-application-0123';

/** A user's own token, as Open WebUI signs it. */
export async function tokenOf(id: string): Promise<string> {
  const key = new TextEncoder().encode(sessionSecret);
  return await new SignJWT({ id, jti: randomUUID() })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1h')
    .sign(key);
}

/** Open WebUI's proxy as one user in one chat. */
export class Pane {
  readonly base: string;
  readonly headers: Record<string, string>;
  readonly token: string;

  private constructor(base: string, token: string, headers: Record<string, string>) {
    this.base = base;
    this.token = token;
    this.headers = headers;
  }

  static async of(url: string, user: string, chat?: string): Promise<Pane> {
    const token = await tokenOf(user);
    const context = chat === undefined ? undefined : { 'x-session-id': chat, 'x-terminal-context-id': `chat:${chat}` };
    return new Pane(`${url}/open-terminal`, token, { authorization: `Bearer ${token}`, 'x-user-id': user, ...context });
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.base + path, { ...init, headers: { ...this.headers, ...(init.headers as object) } });
  }

  /** Status and JSON of a request; `body` makes it a POST. */
  async ask(path: string, body?: unknown, method = body === undefined ? 'GET' : 'POST') {
    const sent =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const answer = await this.fetch(path, { method, ...sent });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  }

  async upload(directory: string, name: string, content: Blob) {
    const form = new FormData();
    form.append('file', content, name);
    const answer = await this.fetch(`/files/upload?directory=${encodeURIComponent(directory)}`, {
      method: 'POST',
      body: form,
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  }

  /** The Shell tab on a terminal: the first frame proves the user. */
  shell(id: string, first: unknown = { type: 'auth', token: this.token }): ShellTab {
    const { authorization: _, ...headers } = this.headers;
    return new ShellTab(
      new WebSocket(`${this.base.replace('http', 'ws')}/api/terminals/${id}?user_id=x`, { headers }),
      first,
    );
  }
}

export class ShellTab {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly texts: string[] = [];
  shown = '';
  #news = Promise.withResolvers<void>();

  constructor(socket: WebSocket, first: unknown) {
    this.socket = socket;
    this.closed = new Promise((resolve) =>
      socket.once('close', (code: number, reason: Buffer) => {
        resolve({ code, reason: String(reason) });
        this.#news.resolve();
      }),
    );
    socket.on('error', () => {});
    socket.once('open', () => first !== null && socket.send(JSON.stringify(first)));
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.shown += data.toString();
      else this.texts.push(data.toString());
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    });
  }

  type(text: string): void {
    this.socket.send(Buffer.from(text));
  }

  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.shown)) {
      if (this.socket.readyState >= 2) throw new Error(`closed before ${pattern}: ${this.shown}`);
      await this.#news.promise;
    }
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}
