import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Refusal } from './refusal.ts';

/** A request as the guard sends it: nothing of the client's is in it but what was checked. */
export interface Outgoing {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
}

const patience = 30_000;
const longestAnswer = 64 * 1024 ** 2;

/** The engine's own socket. */
export class EngineSocket implements Disposable {
  readonly #path: string;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(path: string) {
    this.#path = path;
  }

  send({ method, path, body }: Outgoing, options: { upgrade?: boolean } = {}): ClientRequest {
    const text = body && JSON.stringify(body);
    const headers = {
      host: 'docker',
      ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      ...(options.upgrade && { connection: 'Upgrade', upgrade: 'tcp' }),
    };
    const agent = options.upgrade ? false : this.#agent;
    const outgoing = request({ socketPath: this.#path, method, path, headers, agent });
    outgoing.end(text);
    return outgoing;
  }

  /** The JSON answer to a GET; `undefined` where there is no such thing. Throws a `Refusal` (502) for any other failure. */
  async ask(path: string): Promise<unknown> {
    const response = await this.#answer(path);
    const text = await readAll(response, longestAnswer);
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw new Refusal('The engine does not tell what this is about.', 502);
    return JSON.parse(text.toString()) as unknown;
  }

  async #answer(path: string): Promise<IncomingMessage> {
    const outgoing = this.send({ method: 'GET', path });
    outgoing.setTimeout(patience, () => outgoing.destroy(new Error('the engine does not answer')));
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    outgoing.on('response', resolve).on('error', reject);
    return await promise;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** Throws a `Refusal` (413) beyond the bound. */
export async function readAll(stream: AsyncIterable<Buffer>, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > most) throw new Refusal('The body is too long.', 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
