import { AppError } from '../../errors.ts';
import { shown } from '../../sandbox/files/paths.ts';
import type { McpContext } from './context.ts';
import type { ToolCall } from './tool-call.ts';

/** Makes links that this client's user can open: at `server.public_url`, or where the client itself reached the server. */
export function linker({ config, links }: McpContext, baseUrl: string, madeBy: string | undefined): ToolCall['link'] {
  return (kind, handle, path, seconds) => {
    refuseParents(kind === 'share' ? 'path' : 'directory', path);
    const expires = Math.floor(Date.now() / 1000) + seconds;
    const notes = config.server.public_url
      ? []
      : [
          `the link has the address that this client uses; if the user’s browser cannot reach it, server.public_url is to be set`,
        ];
    const iso = new Date(expires * 1000).toISOString().replace('.000Z', 'Z');
    return { url: baseUrl + links.path({ kind, handle, path, expires, madeBy }), expires: iso, notes };
  };
}

/** Browsers and clients take `..` out of a link, which would then be another one. */
function refuseParents(argument: string, path: string): void {
  if (!path.split('/').includes('..')) return;
  throw new AppError('invalid_argument', `${argument}: expected one without "..", got ${shown(path)}.`);
}
