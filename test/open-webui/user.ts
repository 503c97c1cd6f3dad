import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { models, plain } from './fake-model.ts';

interface Output {
  readonly type: string;
  readonly output?: unknown;
  readonly files?: readonly { readonly type: string; readonly url: string }[];
}

/** An assistant's message as Open WebUI keeps it. */
export interface Reply {
  readonly id: string;
  readonly content: string;
  readonly done?: boolean;
  readonly error?: unknown;
  readonly output?: readonly Output[];
  readonly files?: readonly { readonly type: string; readonly url: string }[];
  /** Lines shown above the message. */
  readonly statusHistory?: readonly { readonly description?: string; readonly done?: boolean }[];
}

interface StoredChat {
  readonly chat: { readonly history: { readonly messages: Record<string, Reply> } };
}

/** Someone signed in to Open WebUI, by the API its own pages use. */
export class User {
  readonly #url: string;
  readonly token: string;
  readonly id: string;

  private constructor(url: string, token: string, id: string) {
    [this.#url, this.token, this.id] = [url, token, id];
  }

  static async signIn(url: string, email: string, password: string): Promise<User> {
    const stranger = new User(url, '', '');
    const { token, id } = await stranger.post<{ token: string; id: string }>('/api/v1/auths/signin', {
      email,
      password,
    });
    return new User(url, token, id);
  }

  async get<T = unknown>(path: string): Promise<T> {
    return this.#fetch<T>(path, {});
  }

  async post<T = unknown>(path: string, body: unknown): Promise<T> {
    return this.#fetch<T>(path, { method: 'POST', body: JSON.stringify(body) });
  }

  async #fetch<T>(path: string, init: RequestInit): Promise<T> {
    const headers = {
      'content-type': 'application/json',
      ...(this.token && { authorization: `Bearer ${this.token}` }),
    };
    const answer = await fetch(this.#url + path, { ...init, headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${(await answer.text()).slice(0, 500)}`);
    return (await answer.json()) as T;
  }

  /** A file as the page attaches it to a message. */
  async upload(name: string, content: string): Promise<object> {
    const form = new FormData();
    form.append('file', new Blob([content], { type: 'text/csv' }), name);
    const headers = { authorization: `Bearer ${this.token}` };
    const answer = await fetch(`${this.#url}/api/v1/files/?process=false`, { method: 'POST', body: form, headers });
    if (!answer.ok) throw new Error(`upload: ${answer.status} ${await answer.text()}`);
    const { id } = (await answer.json()) as { id: string };
    return { type: 'file', id, name, url: id, status: 'uploaded', size: content.length };
  }

  chat(): Chat {
    return new Chat(this);
  }
}

export interface Say {
  readonly tools?: readonly string[];
  /** Side-by-side models. */
  readonly models?: readonly string[];
  /** Attached to the message. */
  readonly files?: readonly object[];
}

/** One conversation. It exists in Open WebUI from the first message on. */
export class Chat {
  readonly #user: User;
  #parent: string | null = null;
  id = '';

  constructor(user: User) {
    this.#user = user;
  }

  /** Says something and waits for the answer to be complete. */
  async say(text: string, options: Say = {}): Promise<Reply> {
    const [reply] = await this.sayToAll(text, options);
    if (!reply) throw new Error('no model answered');
    return reply;
  }

  async sayToAll(text: string, options: Say = {}): Promise<Reply[]> {
    const ids = await this.begin(text, options);
    return Promise.all(ids.map((id) => this.reply(id)));
  }

  /** Says something and returns at once, as the page does; the answers' ids. */
  async begin(
    text: string,
    { tools = ['server:mcp:sandbox'], models: asked = models.slice(0, 1), files }: Say = {},
  ): Promise<string[]> {
    const message_ids = asked.map((model_id) => ({ model_id, message_id: randomUUID() }));
    const user_message = {
      id: randomUUID(),
      parentId: this.#parent,
      childrenIds: [],
      role: 'user',
      content: text,
      models: asked,
      ...(files && { files }),
    };
    const { chat_id } = await this.#user.post<{ chat_id: string }>('/api/chat/completions', {
      model: asked[0],
      messages: [{ role: 'user', content: text }],
      stream: true,
      parent_id: this.#parent,
      ...(this.id && { chat_id: this.id }),
      user_message,
      message_ids,
      session_id: randomUUID(),
      tool_ids: tools,
      params: { function_calling: 'native' },
      background_tasks: { title_generation: false, tags_generation: false, follow_up_generation: false },
      features: {},
    });
    this.id = chat_id;
    this.#parent = message_ids[0]?.message_id ?? null;
    return message_ids.map((entry) => entry.message_id);
  }

  /** The stored message, once it is complete. */
  async reply(id: string, seconds = 600): Promise<Reply> {
    for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(150)) {
      const message = await this.stored(id);
      if (message?.done) return message;
    }
    throw new Error(`no answer within ${seconds} s: ${JSON.stringify(await this.stored(id))}`);
  }

  async stored(id: string): Promise<Reply | undefined> {
    const { chat } = await this.#user.get<StoredChat>(`/api/v1/chats/${this.id}`);
    return chat.history.messages[id];
  }

  /** The stop button. */
  async stop(): Promise<void> {
    const { task_ids } = await this.#user.get<{ task_ids: string[] }>(`/api/tasks/chat/${this.id}`);
    if (task_ids.length === 0) throw new Error('there is nothing to stop');
    await this.#user.post(`/api/tasks/chat/${this.id}/stop`, {}).catch(async () => {
      for (const task of task_ids) await this.#user.post(`/api/tasks/stop/${task}`, {});
    });
  }
}

/** What the tools gave, in order, as the message keeps it for the model and the reader. */
export function results(reply: Reply): string[] {
  return (reply.output ?? []).filter((item) => item.type === 'function_call_output').map((item) => plain(item.output));
}

/** Pictures that came with a message's results. */
export function pictures(reply: Reply): string[] {
  const files = [...(reply.files ?? []), ...(reply.output ?? []).flatMap((item) => item.files ?? [])];
  return files.filter((file) => file.type === 'image').map((file) => file.url);
}
