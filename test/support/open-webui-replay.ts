import { readFileSync } from 'node:fs';
import { read, type Answer, type Message } from './raw.ts';

interface Step {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: { readonly method: string; readonly params?: Record<string, unknown> };
}

type Wire = Record<string, { readonly reply: readonly Step[]; readonly verify: readonly Step[] }>;

/** What real Open WebUIs sent, by version: one of each era. */
const wire = JSON.parse(readFileSync(new URL('../mcp/open-webui-wire.json', import.meta.url), 'utf8')) as Wire;

export const versions = Object.keys(wire);

export interface Who {
  readonly key: string;
  readonly user: string;
  readonly chat: string;
  /** Besides those recorded, or in their place; `undefined` leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** One assistant's reply as Open WebUI goes through it: connect, list the tools, call some, let go. */
export class Reply {
  readonly #url: string;
  readonly #who: Who;
  readonly #steps: readonly Step[];
  readonly #stream = new AbortController();
  #session = '';
  /** The HTTP statuses so far. */
  readonly statuses: number[] = [];

  constructor(url: string, version: string, who: Who, part: 'reply' | 'verify' = 'reply') {
    [this.#url, this.#who, this.#steps] = [url, who, wire[version]![part]];
  }

  get session(): string {
    return this.#session;
  }

  /** Everything before the first tool call; the tools. */
  async connect(): Promise<string[]> {
    let listed: Answer | undefined;
    for (const step of this.#steps) {
      if (step.body?.method === 'tools/call' || step.method === 'DELETE') break;
      if (step.method === 'GET') void this.#send(step, this.#stream.signal).catch(() => {});
      else listed = await read(await this.#send(step));
    }
    const tools = listed?.messages.at(-1)?.result?.['tools'] as { name: string }[] | undefined;
    return (tools ?? []).map((tool) => tool.name);
  }

  /** The first request of the reply, given up as soon as it is sent. */
  async cancelledConnect(): Promise<void> {
    const connection = new AbortController();
    const pending = this.#send(this.#steps[0]!, connection.signal).catch(() => undefined);
    setTimeout(() => connection.abort(), 5);
    await pending;
  }

  async call(
    name: string,
    args: object,
    signal?: AbortSignal,
  ): Promise<{ status: number; message: Message | undefined }> {
    const step = this.#steps.find(({ body }) => body?.method === 'tools/call')!;
    const body = { ...step.body!, params: { ...step.body!.params, name, arguments: args } };
    const headers = 'mcp-name' in step.headers ? { ...step.headers, 'mcp-name': name } : step.headers;
    const answer = await read(await this.#send({ ...step, headers, body }, signal));
    return { status: answer.status, message: answer.messages.at(-1) };
  }

  async close(): Promise<void> {
    this.#stream.abort();
    for (const step of this.#steps) if (step.method === 'DELETE') await (await this.#send(step)).body?.cancel();
  }

  async #send(step: Step, signal?: AbortSignal): Promise<Response> {
    const headers = { ...step.headers, ...this.#who.headers };
    const kept = Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, this.#fill(value)]],
    );
    const response = await fetch(this.#url, {
      method: step.method,
      headers: Object.fromEntries(kept) as Record<string, string>,
      ...(step.body && { body: JSON.stringify(step.body) }),
      ...(signal && { signal }),
    });
    this.#session ||= response.headers.get('mcp-session-id') ?? '';
    this.statuses.push(response.status);
    return response;
  }

  #fill(value: string): string {
    const { key, user, chat } = this.#who;
    const values: Record<string, string> = { KEY: key, USER_ID: user, CHAT_ID: chat, SESSION: this.#session };
    return value.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? '');
  }
}

/** The text of a result's first item. */
export function textOf(message: Message | undefined): string {
  return message?.result?.content?.[0]?.text ?? '';
}
