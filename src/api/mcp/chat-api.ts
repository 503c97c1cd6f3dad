import type { Config } from '../../config.ts';
import { AppError, type ErrorCode } from '../../errors.ts';

/** A file that came with a chat's messages. */
export interface Attachment {
  /** Open WebUI's id of it. */
  readonly id: string;
  readonly name: string;
}

export interface ChatRef {
  /** Open WebUI as this server reaches it, without a slash at the end. */
  readonly url: string;
  /** The user's own token. */
  readonly token: string;
  readonly chat: string;
  /** The assistant's message that is being written. */
  readonly message: string | undefined;
}

/** Milliseconds until the first byte of an answer. */
const patience = 15_000;
const mostAttachments = 200;
const longestAnswer = 64 * 1024 * 1024;

/** The user's chat in Open WebUI, by its API and with the user's rights. */
export class ChatApi {
  readonly #ref: ChatRef;

  constructor(ref: ChatRef) {
    this.#ref = ref;
  }

  /** What was attached to the chat's messages, each file once. */
  async attachments(signal: AbortSignal): Promise<Attachment[]> {
    const answer = await this.#fetch(`chats/${encodeURIComponent(this.#ref.chat)}`, { signal });
    if (Number(answer.headers.get('content-length')) > longestAnswer) throw unreadable();
    const body = (await answer.json().catch(() => undefined)) as StoredChat | undefined;
    const messages = Object.values(body?.chat?.history?.messages ?? {});
    const files = [...messages.flatMap((message) => message?.files ?? []), ...(body?.chat?.files ?? [])];
    const found = files.flatMap((file) => attachmentOf(file) ?? []);
    return [...new Map(found.map((file) => [file.id, file])).values()].slice(0, mostAttachments);
  }

  /** The bytes of an attachment. */
  async content(id: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const answer = await this.#fetch(`files/${encodeURIComponent(id)}/content`, { signal });
    return answer.body ?? new Blob([]).stream();
  }

  /** Shows a line above the message that is being written, or takes it away. */
  async status(description: string, done: boolean): Promise<void> {
    if (this.#ref.message === undefined) return;
    const path = `chats/${encodeURIComponent(this.#ref.chat)}/messages/${encodeURIComponent(this.#ref.message)}/event`;
    const body = JSON.stringify({ type: 'status', data: { description, done, hidden: done } });
    const answer = await this.#fetch(path, { method: 'POST', body, signal: AbortSignal.timeout(patience) });
    await answer.body?.cancel();
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = { authorization: `Bearer ${this.#ref.token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${this.#ref.url}/api/v1/${path}`, { ...init, headers, redirect: 'error' }).catch(
      (cause: unknown) => {
        if (init.signal?.aborted) throw cause;
        throw new AppError('application_unavailable', 'The chat application cannot be reached from here.', { cause });
      },
    );
    if (answer.ok) return answer;
    await answer.body?.cancel();
    throw refusal(answer.status);
  }
}

/** The chat that a call comes from, where the settings and the call's own credentials let it be reached. */
export function chatOf(
  { open_webui: settings }: Pick<Config, 'open_webui'>,
  token: string | undefined,
  header: (name: string) => string | null | undefined,
): ChatApi | undefined {
  const chat = header(settings.chat_header);
  if (settings.url === undefined || token === undefined || !chat) return undefined;
  const message = header(settings.message_header) || undefined;
  return new ChatApi({ url: settings.url.replace(/\/+$/, ''), token, chat, message });
}

interface StoredFile {
  readonly type?: unknown;
  readonly id?: unknown;
  readonly url?: unknown;
  readonly name?: unknown;
  readonly file?: { readonly id?: unknown; readonly filename?: unknown };
}

interface StoredChat {
  readonly chat?: {
    readonly files?: readonly StoredFile[];
    readonly history?: { readonly messages?: Record<string, { readonly files?: readonly StoredFile[] } | null> };
  };
}

/** Files have an id; pictures may have it in their address only. Collections and web pages are no files. */
function attachmentOf(file: StoredFile): Attachment | undefined {
  if (file.type !== 'file' && file.type !== 'image') return undefined;
  const id = [file.id, file.file?.id, idIn(file.url)].find((value) => typeof value === 'string' && value !== '');
  if (typeof id !== 'string') return undefined;
  const name = [file.name, file.file?.filename].find((value) => typeof value === 'string' && value !== '');
  return { id, name: typeof name === 'string' ? name : id };
}

function idIn(url: unknown): string | undefined {
  return typeof url === 'string' ? /(?:^|\/files\/)([0-9a-f-]{36})(?:\/|$)/.exec(url)?.[1] : undefined;
}

/** What a status of the application says to the caller; any other is its own trouble. */
const refusals: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  401: ['forbidden', 'The chat application does not let this user have that'],
  403: ['forbidden', 'The chat application does not let this user have that'],
  404: ['not_found', 'The chat application does not know that'],
  429: ['busy', 'The chat application takes no more requests for now'],
};

function refusal(status: number): AppError {
  const [code, what] = refusals[status] ?? ['application_unavailable', 'The chat application failed'];
  return new AppError(code, `${what} (status ${status}).`);
}

function unreadable(): AppError {
  return new AppError('too_large', 'The chat is too long to look for its attachments.');
}
