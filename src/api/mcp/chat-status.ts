import type { Logger } from 'pino';
import type { ChatApi } from './chat-api.ts';

/** Milliseconds a call may take before its progress is shown at all, and between two lines. */
const quiet = 3000;
const pause = 2000;

/** Shows a call's progress in the chat: the newest line, one request at a time. */
export class ChatStatus implements AsyncDisposable {
  readonly #chat: ChatApi;
  readonly #log: Logger;
  #next = performance.now() + quiet;
  #sending: Promise<void> | undefined;
  #shown = '';

  constructor(chat: ChatApi, log: Logger) {
    this.#chat = chat;
    this.#log = log;
  }

  report(line: string): void {
    if (this.#sending || performance.now() < this.#next) return;
    this.#shown = line;
    this.#sending = this.#send(line, false).finally(() => {
      this.#sending = undefined;
      this.#next = performance.now() + pause;
    });
  }

  /** Takes the line away: the result is there. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sending;
    if (this.#shown) await this.#send(this.#shown, true);
  }

  /** A chat that shows nothing is no reason for a call to fail. */
  async #send(line: string, done: boolean): Promise<void> {
    await this.#chat
      .status(line, done)
      .catch((err: unknown) => this.#log.debug({ err }, 'progress could not be shown in the chat'));
  }
}
