import { isIP } from 'node:net';

/** Where a request wants to go. The host is lower-case, without brackets and without a trailing dot. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** `host:port` as a CONNECT names it; `undefined` where it makes no sense. */
export function parseAuthority(authority: string): Target | undefined {
  const match = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253})):(\d{1,5})$/i.exec(authority);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65_535) return undefined;
  return target(match[1] === undefined ? (match[2] ?? '') : `[${match[1]}]`, port);
}

/** An absolute `http://` URL as a forward request has it, with the part after the authority as it was written. */
export function parseForward(url: string): (Target & { readonly path: string }) | undefined {
  const match = /^http:\/\/([^/?#@\s]+)((?:[/?][^#\s]*)?)$/i.exec(url);
  const parsed = match && URL.parse(`http://${match[1]}`);
  if (!match || !parsed) return undefined;
  const found = target(parsed.hostname, Number(parsed.port || 80));
  const path = match[2] ?? '';
  return found && { ...found, path: path.startsWith('/') ? path : `/${path}` };
}

/** Through the URL parser, which turns every spelling of an IPv4 address (`0x7f.1`, `2130706433`) into the usual one. */
function target(name: string, port: number): Target | undefined {
  const host = URL.parse(`http://${name}/`)
    ?.hostname.replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (!host || (isIP(host) === 0 && !/^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$/.test(host))) return undefined;
  return { host, port };
}

/** For people and logs. */
export function showTarget({ host, port }: Target): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}
