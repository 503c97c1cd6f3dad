import assert from 'node:assert/strict';

interface CallResult {
  readonly isError?: boolean;
  readonly content: readonly { readonly text?: string }[];
  readonly structuredContent?: Record<string, unknown>;
}

/** A lean client of the 2025 era, so that a figure is the server's and not the client's. */
export class BenchClient {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  #id = 0;

  private constructor(url: string, headers: Record<string, string>) {
    this.#url = `${url}/mcp`;
    this.#headers = headers;
  }

  /** `chat` names the conversation, and so the sandbox. */
  static async connect(url: string, chat: string): Promise<BenchClient> {
    const client = new BenchClient(url, {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'x-openwebui-chat-id': chat,
    });
    const clientInfo = { name: 'bench', version: '1' };
    const response = await client.#post('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
    await response.text();
    client.#headers['mcp-session-id'] = response.headers.get('mcp-session-id') ?? '';
    return client;
  }

  async call(name: string, args: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const text = await (await this.#post('tools/call', { name, arguments: args })).text();
    const data =
      text
        .split('\n')
        .findLast((line) => line.startsWith('data: '))
        ?.slice(6) ?? text;
    const { result } = JSON.parse(data) as { result: CallResult };
    assert.ok(result && !result.isError, data.slice(0, 500));
    return result.structuredContent ?? {};
  }

  async run(command: string, args: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const result = await this.call('execute_command', { command, ...args });
    assert.equal(result['exit_code'], 0, JSON.stringify(result).slice(0, 500));
    return result;
  }

  async #post(method: string, params: unknown): Promise<Response> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: ++this.#id, method, params });
    const response = await fetch(this.#url, { method: 'POST', headers: this.#headers, body });
    assert.equal(response.status, 200, method);
    return response;
  }
}
