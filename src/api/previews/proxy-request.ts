import { Readable } from 'node:stream';
import type { ReadableStream as NodeStream } from 'node:stream/web';
import type { PortsPort } from '../../sandbox/ports/workspace.ts';
import { forward } from './forward.ts';
import { requestHeaders, responseHeaders } from './headers.ts';

export interface ProxyTarget {
  readonly ports: PortsPort;
  readonly port: number;
  /** What the program is asked for, with its query, beginning with a slash. */
  readonly path: string;
  /** Where that is below Berth's own origin, without a trailing slash. The page then has no origin of its own. */
  readonly prefix: string;
  /** Milliseconds until the program's headers must have come. */
  readonly headersTimeout: number;
}

/**
 * Sends a request of an authenticated caller to a program in a sandbox, and streams its answer. The caller holds a lease
 * until the body has ended, and has checked the limits. Neither `Authorization` nor Berth's cookies reach the program.
 * Rejects with an error whose `code` is a socket's or `HPE_…`, as `forward` does.
 */
export async function proxyRequest(request: Request, target: ProxyTarget): Promise<Response> {
  const { ports, port, path, prefix, headersTimeout } = target;
  const { host, protocol, origin } = new URL(request.url);
  const incoming = await forward(ports, port, {
    method: request.method,
    path,
    headers: requestHeaders([...request.headers], {
      host: `localhost:${port}`,
      origin: `http://localhost:${port}`,
      forwarded: { for: 'unknown', host, proto: protocol === 'https:' ? 'https' : 'http', prefix },
      withoutAuthorization: true,
      upgrade: undefined,
    }),
    body: request.body ? Readable.fromWeb(request.body as NodeStream) : undefined,
    length: request.body ? undefined : lengthOfNone(request.method),
    signal: request.signal,
    headersTimeout,
  });
  const headers = responseHeaders(incoming.headers, { prefix, self: `localhost:${port}`, origin });
  const bodiless = request.method === 'HEAD' || [204, 205, 304].includes(incoming.status);
  if (bodiless) incoming.body.resume();
  const body = bodiless ? null : (Readable.toWeb(incoming.body) as BodyInit);
  return new Response(body, { status: incoming.status, headers });
}

function lengthOfNone(method: string): number | undefined {
  return ['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(method) ? undefined : 0;
}
