import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { AppError, errorTable, toAppError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { Overseer } from '../../sandbox/lifecycle/overseer.ts';

export interface AdminOptions {
  readonly overseer: Pick<Overseer, 'list' | 'stop' | 'end'>;
  readonly log: Logger;
}

/**
 * The operator's JSON routes. `GET /sandboxes` lists everybody's; `POST /sandboxes/HANDLE/stop` and `…/end` answer 200.
 * An error is `{ error: { code, message } }`, as on the server's other routes.
 */
export function adminRoutes(options: AdminOptions): RequestListener {
  return (request, response) => void answer(request, response, options);
}

async function answer(request: IncomingMessage, response: ServerResponse, options: AdminOptions): Promise<void> {
  request.resume();
  try {
    send(response, 200, await handle(`${request.method} ${request.url}`, options));
  } catch (error) {
    const { code, message } = toAppError(error);
    if (code === 'internal') options.log.error({ event: 'admin.failed', err: error });
    send(response, errorTable[code].http, { error: { code, message } });
  }
}

async function handle(what: string, { overseer, log }: AdminOptions): Promise<unknown> {
  if (what === 'GET /sandboxes') return { sandboxes: await overseer.list() };
  const [, handle = '', action] = /^POST \/sandboxes\/(\w{1,80})\/(stop|end)$/.exec(what) ?? [];
  if (action !== 'stop' && action !== 'end') throw new AppError('not_found', 'There is no such operator’s command.');
  await overseer[action](handle);
  log.info({ event: `admin.${action}`, sandbox: handle });
  return { sandbox: handle };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
