import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import { isLoopbackName } from '../../lib/loopback.ts';
import { egressPaths } from '../../sandbox/network/egress.ts';
import type { PreviewAccess, PreviewLinks } from './links.ts';
import { linkTo } from './place.ts';

export interface ShareRequest {
  readonly handle: string;
  readonly template: string;
  readonly port: number;
  readonly access: PreviewAccess;
  readonly host: 'localhost' | 'kept';
  /** Seconds. */
  readonly seconds: number;
  readonly madeBy: string | undefined;
  /** How the client reaches this server, without a path. */
  readonly baseUrl: string;
}

export interface Shared {
  readonly url: string;
  /** ISO 8601. */
  readonly expires: string;
  /** Sentences: what will not work. */
  readonly notes: readonly string[];
}

/** Makes a link to a port that its user can open. Throws `forbidden` and `unsupported` for what the operator does not allow. */
export function sharePort(links: PreviewLinks, config: Config, request: ShareRequest): Shared {
  refuseForbidden(config, request);
  const { handle, port, access, host, madeBy } = request;
  const seconds = Math.min(request.seconds, config.previews.max_expires);
  const expires = (Math.floor(Date.now() / 1000) + seconds) * 1000;
  const row = links.make({ handle, port, access, host, expires, madeBy });
  const origin = originOf(config, request.baseUrl, row.label);
  const token = links.token(row, 'link');
  const url =
    access === 'key' && origin
      ? `${origin}/`
      : linkTo(row.label, token, origin ? { origin } : { base: request.baseUrl });
  return { url, expires: new Date(expires).toISOString().replace('.000Z', 'Z'), notes: origin ? [] : pathLimits };
}

const pathLimits = [
  'the preview is a path of this server: a program that links to /… or keeps cookies or local storage does not work there; with previews.domain set it would have an origin of its own',
];

/** Throws `unsupported` or `forbidden` for a port that may not be shown, with the reason. */
export function refuseForbidden(config: Config, { template, port }: Pick<ShareRequest, 'template' | 'port'>): void {
  const { previews, templates } = config;
  const settings = templates[template];
  if (!previews.enabled) throw new AppError('unsupported', 'This server shows no previews: `previews.enabled` is off.');
  if (settings?.previews === false)
    throw new AppError('forbidden', `Sandboxes of the template ${template} may not share ports.`);
  if (settings?.network === 'allow-list' && port === egressPaths.port)
    throw new AppError('forbidden', `Port ${port} is the sandbox’s way out and cannot be shared.`);
  if (previews.ports.some((range) => isWithin(port, range))) return;
  throw new AppError(
    'forbidden',
    `Port ${port} may not be shared here; allowed are ${previews.ports.join(', ') || 'none'}.`,
  );
}

function isWithin(port: number, range: string): boolean {
  const [first = '', last = first] = range.split('-');
  return port >= Number(first) && port <= Number(last);
}

/** The preview's own origin; undefined where there is no name for one. */
function originOf({ previews }: Config, baseUrl: string, label: string): string | undefined {
  if (previews.domain !== undefined) return `https://${label}.${previews.domain}`;
  const { protocol, hostname, port } = new URL(baseUrl);
  if (protocol !== 'http:' || !isLoopbackName(hostname)) return undefined;
  return `http://${label}.localhost${port === '' ? '' : `:${port}`}`;
}
