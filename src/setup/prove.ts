import { SetupError } from './error.ts';

interface Answer {
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

const protocolVersion = '2025-06-18';
const word = 'berth-works';

/**
 * One real round trip of a real client's kind: a session, a sandbox of its own, a command in it, and everything removed
 * again. Where the operator does not offer the tools for that, the list of tools is the proof. Resolves to a sentence.
 */
export async function prove(url: string, bearer: string | undefined, signal: AbortSignal): Promise<string> {
  const client = new Client(url, bearer, signal);
  await client.initialize();
  try {
    const tools = (await client.request('tools/list', {}))['tools'] as { name: string }[];
    const offered = new Set(tools.map(({ name }) => name));
    if (!['create_sandbox', 'execute_command', 'end_sandbox'].every((name) => offered.has(name))) {
      return `${tools.length} tools offered`;
    }
    return await proveCommand(client);
  } finally {
    await client.close();
  }
}

async function proveCommand(client: Client): Promise<string> {
  const started = performance.now();
  const { sandbox } = await client.call('create_sandbox', { ttl: 300 });
  const { stdout, status } = await client.call('execute_command', { command: `echo ${word}`, sandbox });
  const took = ((performance.now() - started) / 1000).toFixed(1);
  await client.call('end_sandbox', { sandbox });
  if (stdout !== `${word}\n`)
    throw new SetupError(`The first command came back ${String(status)} with the output ${JSON.stringify(stdout)}.`);
  return `a command ran in a fresh sandbox within ${took} s`;
}

/** The least of an MCP client that a proof needs. */
class Client {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #signal: AbortSignal;
  #id = 0;

  constructor(url: string, bearer: string | undefined, signal: AbortSignal) {
    this.#url = url;
    this.#signal = AbortSignal.any([signal, AbortSignal.timeout(120_000)]);
    this.#headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(bearer && { authorization: `Bearer ${bearer}` }),
    };
  }

  async initialize(): Promise<void> {
    await this.request('initialize', {
      protocolVersion,
      capabilities: {},
      clientInfo: { name: 'berth-up', version: '1' },
    });
    this.#headers['mcp-protocol-version'] = protocolVersion;
    await this.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
  }

  async call(name: string, args: Record<string, unknown>): Promise<Record<string, unknown>> {
    const result = await this.request('tools/call', { name, arguments: args });
    const text = (result['content'] as { text?: string }[] | undefined)?.[0]?.text;
    if (result['isError'])
      throw new SetupError(`The server started, but ${name} failed: ${text ?? 'it does not say why'}`);
    return (result['structuredContent'] ?? {}) as Record<string, unknown>;
  }

  async request(method: string, params: Record<string, unknown>): Promise<Record<string, unknown>> {
    const id = ++this.#id;
    const response = await this.#post({ jsonrpc: '2.0', id, method, params });
    const session = response.headers.get('mcp-session-id');
    if (session) this.#headers['mcp-session-id'] = session;
    const { result, error } = answerIn(await response.text(), id);
    if (!result)
      throw new SetupError(`The server started, but ${method} failed: ${error?.message ?? `HTTP ${response.status}`}`);
    return result;
  }

  async close(): Promise<void> {
    if (!this.#headers['mcp-session-id']) return;
    await fetch(this.#url, { method: 'DELETE', headers: this.#headers, signal: this.#signal }).catch(() => {});
  }

  #post(message: object): Promise<Response> {
    return fetch(this.#url, {
      method: 'POST',
      headers: this.#headers,
      body: JSON.stringify(message),
      signal: this.#signal,
    });
  }
}

/** The answer to a request, out of a plain body or an event stream. */
function answerIn(body: string, id: number): Answer {
  const texts = body.trimStart().startsWith('{')
    ? [body]
    : body.split('\n').flatMap((line) => /^data: ?(.+)$/.exec(line)?.[1] ?? []);
  const messages = texts.map((text) => JSON.parse(text) as Answer & { id?: number });
  return messages.find((message) => message.id === id) ?? messages[0] ?? {};
}
