import type { IncomingMessage } from 'node:http';
import { cookieNames } from './headers.ts';

/** Which preview a request is for, and how its visitor says so. */
export interface Place {
  readonly label: string;
  /** Without a trailing slash; absent where the preview has an origin of its own. */
  readonly prefix?: string;
  /** `label.localhost:3000`. */
  readonly host: string;
  readonly proto: 'http' | 'https';
  /** What the program is asked for. */
  readonly path: string;
  /** The link's token, where the request carries one. */
  readonly token?: string;
}

const parameter = 'berth-preview';

/**
 * The preview that a request is for: by its Host, below `localhost` or below the previews' own domain, or by its path.
 * Undefined where it is none's. Everything below these domains is a preview's, so that no other page is served there.
 */
export function placeOf(request: IncomingMessage, domain: string | undefined): Place | undefined {
  const host = request.headers.host?.toLowerCase() ?? '';
  const [, label, parent] = /^([^.:]*)\.([^:]+?)\.?(?::\d+)?$/.exec(host) ?? [];
  const path = request.url ?? '/';
  if (label !== undefined && (parent === 'localhost' || parent === domain)) {
    return { ...withoutToken(path), label, host, proto: parent === domain ? 'https' : 'http' };
  }
  const [, below, token, rest] = /^\/ports\/([a-z2-7]{26})\.([\w-]{22})(\/.*)?$/s.exec(path) ?? [];
  if (below === undefined || token === undefined) return undefined;
  return { label: below, prefix: `/ports/${below}.${token}`, host, proto: protoOf(request), path: rest ?? '', token };
}

/** What a reverse proxy in front says. It decides over nothing but links. */
function protoOf(request: IncomingMessage): 'http' | 'https' {
  return request.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
}

/** Takes the token off the query, byte by byte as the rest was. */
function withoutToken(path: string): { path: string; token?: string } {
  const [before = '', query] = path.split(/\?(.*)/s);
  const fields = query?.split('&') ?? [];
  const token = fields.find((field) => field.startsWith(`${parameter}=`))?.slice(parameter.length + 1);
  if (token === undefined) return { path };
  const rest = fields.filter((field) => !field.startsWith(`${parameter}=`)).join('&');
  return { path: rest === '' ? before : `${before}?${rest}`, token };
}

/** Every cookie of Berth's name: another preview's page may have set some of them. */
export function cookiesOf(request: IncomingMessage): string[] {
  const own = new Set<string>(cookieNames);
  return (request.headers.cookie ?? '')
    .split(';')
    .map((cookie) => cookie.trim().split(/=(.*)/s))
    .flatMap(([name = '', value = '']) => (own.has(name) ? [value] : []));
}

/** For this origin alone, beyond the reach of its scripts. In a frame of another site it needs HTTPS. */
export function cookieFor({ proto }: Place, value: string, seconds: number): string {
  const age = `Path=/; HttpOnly; Max-Age=${seconds}`;
  return proto === 'https'
    ? `${cookieNames[0]}=${value}; ${age}; Secure; SameSite=None; Partitioned`
    : `${cookieNames[1]}=${value}; ${age}; SameSite=Lax`;
}

/** The link to a preview: with an origin of its own, or as a path of `base`. */
export function linkTo(
  label: string,
  token: string,
  where: { readonly origin: string } | { readonly base: string },
): string {
  return 'origin' in where ? `${where.origin}/?${parameter}=${token}` : `${where.base}/ports/${label}.${token}/`;
}
