import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface ToolCall {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
}

/** What the model does with a user message: tool calls, one after another, then a text made of their results. */
export interface Script {
  /** The connection whose tools it calls; `sandbox` when left out. */
  readonly server?: string;
  readonly calls: readonly ToolCall[];
  readonly answer?: string | ((results: readonly string[]) => string);
}

interface Message {
  readonly role: string;
  readonly content?: unknown;
}

interface Completion {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly stream?: boolean;
}

/** An OpenAI-compatible model that follows scripts, by the text of the last user message. */
export class FakeModel implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #scripts = new Map<string, Script>();
  /** The messages of each completion asked for. */
  readonly requests: Completion[] = [];

  static async start(): Promise<FakeModel> {
    const model = new FakeModel();
    await new Promise<void>((resolve) => model.#server.listen(0, '127.0.0.1', resolve));
    return model;
  }

  /** `http://127.0.0.1:41234/v1` */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  when(said: string, script: Script): void {
    this.#scripts.set(said, script);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const json = (body: unknown) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
    if (request.url?.endsWith('/models')) return void json({ object: 'list', data: models.map(modelCard) });
    const body = JSON.parse(await text(request)) as Completion;
    this.requests.push(body);
    const reply = this.#reply(body.messages);
    if (!body.stream)
      return void json({ ...envelope(body), choices: [{ index: 0, message: reply, finish_reason: 'stop' }] });
    response.setHeader('content-type', 'text/event-stream');
    const delta = 'tool_calls' in reply ? { role: 'assistant', tool_calls: reply.tool_calls } : reply;
    for (const choice of [
      { index: 0, delta, finish_reason: null },
      { index: 0, delta: {}, finish_reason: 'tool_calls' in reply ? 'tool_calls' : 'stop' },
    ])
      response.write(
        `data: ${JSON.stringify({ ...envelope(body), object: 'chat.completion.chunk', choices: [choice] })}\n\n`,
      );
    response.end('data: [DONE]\n\n');
  }

  #reply(messages: readonly Message[]) {
    const asked = messages.findLastIndex(
      (message) => message.role === 'user' && this.#scriptFor(message) !== undefined,
    );
    const script = messages[asked] && this.#scriptFor(messages[asked]);
    const results = messages.slice(asked + 1).filter((message) => message.role === 'tool');
    const call = script?.calls[results.length];
    if (!script || !call)
      return {
        role: 'assistant',
        content: answer(
          script,
          results.map((result) => plain(result.content)),
        ),
      };
    const id = `call_${asked}_${results.length}`;
    const fn = { name: `${script.server ?? 'sandbox'}_${call.name}`, arguments: JSON.stringify(call.arguments) };
    return { role: 'assistant', content: null, tool_calls: [{ index: 0, id, type: 'function', function: fn }] };
  }

  /** By what was said: Open WebUI may have put more around it. */
  #scriptFor({ content }: Message): Script | undefined {
    const text = plain(content);
    const [said = ''] = [...this.#scripts.keys()]
      .filter((key) => text.includes(key))
      .toSorted((a, b) => b.length - a.length);
    return this.#scripts.get(said);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export const models = ['scripted', 'scripted-too'];

const modelCard = (id: string) => ({ id, object: 'model', created: 0, owned_by: 'test' });

const envelope = ({ model }: Completion) => ({ id: 'completion', object: 'chat.completion', created: 0, model });

function answer(script: Script | undefined, results: readonly string[]): string {
  if (typeof script?.answer === 'function') return script.answer(results);
  return script?.answer ?? results.join('\n') ?? 'Nothing to do.';
}

/** The text of a message, its text parts joined. */
export function plain(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part: { text?: string }) => part.text ?? '').join('');
}
