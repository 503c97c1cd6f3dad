import type { TestServer } from './server.ts';

/** A JSON-RPC client that hides nothing: what it sends and gets is what is on the wire. */

const base = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The JSON-RPC messages, from JSON or from an event stream. */
  readonly messages: Message[];
  readonly text: string;
}

export interface Message {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: ToolAnswer & Record<string, unknown>;
  readonly error?: { code: number; message: string; data?: Record<string, unknown> };
}

interface ToolAnswer {
  readonly content?: { type: string; text?: string }[];
  readonly structuredContent?: Record<string, unknown>;
  readonly isError?: boolean;
}

export async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Answer> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...base, ...headers },
    body: payload,
    ...(signal && { signal }),
  });
  return read(response);
}

export async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  const stream = response.headers.get('content-type')?.startsWith('text/event-stream');
  const payloads = stream
    ? text
        .split('\n')
        .filter((line) => line.startsWith('data: '))
        .map((line) => line.slice(6))
    : [text];
  const messages = payloads.flatMap((payload) => parse(payload));
  return { status: response.status, headers: response.headers, messages, text };
}

function parse(payload: string): Message[] {
  try {
    return [JSON.parse(payload) as Message];
  } catch {
    return [];
  }
}

let nextId = 0;

export const request = (method: string, params?: object) => ({
  jsonrpc: '2.0',
  id: ++nextId,
  method,
  ...(params && { params }),
});

export const initialize = (version = '2025-11-25') =>
  request('initialize', { protocolVersion: version, capabilities: {}, clientInfo: { name: 'raw', version: '1' } });

/** A 2025-era session, to call tools in. */
export class RawSession {
  readonly url: string;
  readonly headers: Record<string, string>;

  constructor(url: string, headers: Record<string, string>) {
    this.url = url;
    this.headers = headers;
  }

  get id(): string {
    return this.headers['mcp-session-id']!;
  }

  post(body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Answer> {
    return post(this.url, body, { ...this.headers, ...headers }, signal);
  }

  /** The last message of a tools/call: its result or error. */
  async call(
    name: string,
    args: object = {},
    options: { meta?: object; headers?: Record<string, string> } = {},
  ): Promise<Message> {
    const params = { name, arguments: args, ...(options.meta && { _meta: options.meta }) };
    return (await this.post(request('tools/call', params), options.headers)).messages.at(-1)!;
  }

  delete(): Promise<Response> {
    return fetch(this.url, { method: 'DELETE', headers: this.headers });
  }
}

export async function openSession(
  server: Pick<TestServer, 'mcp'>,
  headers: Record<string, string> = {},
): Promise<RawSession> {
  const answer = await post(server.mcp, initialize(), headers);
  const id = answer.headers.get('mcp-session-id');
  if (!id) throw new Error(`initialize gave no session: ${answer.status} ${answer.text}`);
  const session = new RawSession(server.mcp, {
    ...headers,
    'mcp-session-id': id,
    'mcp-protocol-version': '2025-11-25',
  });
  await session.post({ jsonrpc: '2.0', method: 'notifications/initialized' });
  return session;
}

const revision = '2026-07-28';

/** A tools/call of the 2026 era. */
export function modernCall(name: string, args: object = {}, meta: object = {}) {
  const envelope = {
    'io.modelcontextprotocol/protocolVersion': revision,
    'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  return request('tools/call', { name, arguments: args, _meta: { ...envelope, ...meta } });
}

export const modernHeaders = (name: string) => ({
  'mcp-protocol-version': revision,
  'mcp-method': 'tools/call',
  'mcp-name': name,
});

/** Polls, for what other processes or timers do, at most 5 s. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 5000; !condition(); await new Promise((done) => setTimeout(done, 5)))
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
}
