import { createMiddleware } from 'hono/factory';
import ipaddr from 'ipaddr.js';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import type { HttpEnv } from './env.ts';

/** Headers that only a proxy sets. */
const proxyHeader = /^(forwarded|via|x-real-ip|x-forwarded-.+)$/;

/**
 * Without keys a server on loopback takes its callers for people of this machine. A request that came through a proxy
 * is from anywhere, so it is refused unless the operator wrote `auth.mode: none` out.
 */
export function proxyCheck({ auth }: Pick<Config, 'auth'>) {
  const isOpen = auth.mode !== 'none' || auth.written;
  return createMiddleware<HttpEnv>(async (c, next) => {
    const header = isOpen ? undefined : [...c.req.raw.headers.keys()].find((name) => proxyHeader.test(name));
    if (header !== undefined) {
      throw new AppError(
        'forbidden',
        `This request came through a proxy (its header ${header.slice(0, 60)} says so) and this server has no keys; the operator makes one with "berth key create NAME", or sets auth.mode to none to let everybody in.`,
      );
    }
    await next();
  });
}

/** Tells the address of a request's client: `peer` is who opened the connection, `header` finds a header. */
export type ClientAddress = (
  peer: string | undefined,
  header: (name: string) => string | undefined,
) => string | undefined;

/**
 * The last address of `X-Forwarded-For` that is no trusted proxy's, where the connection itself is from a trusted one;
 * else the connection's own. Proxies append to the header, so that what is left of that address proves nothing.
 */
export function clientAddress({ trusted_proxies: trusted }: Pick<Config['server'], 'trusted_proxies'>): ClientAddress {
  const ranges = trusted.map((range) => rangeOf(range));
  const isTrusted = (address: string) => ranges.some((range) => isWithin(address, range));
  return (peer, header) => {
    const own = normalAddress(peer ?? '');
    if (own === undefined || !isTrusted(own)) return own;
    let client = own;
    for (const hop of (header('x-forwarded-for') ?? '').split(',').toReversed()) {
      const address = normalAddress(hop.trim());
      if (address === undefined) return client;
      client = address;
      if (!isTrusted(address)) return client;
    }
    return client;
  };
}

type Range = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/** An address alone is a range of one. */
function rangeOf(text: string): Range {
  if (text.includes('/')) return ipaddr.parseCIDR(text);
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

function isWithin(text: string, [network, bits]: Range): boolean {
  const address = ipaddr.process(text);
  return address.kind() === network.kind() && address.match(network, bits);
}

/** Without a port, brackets or a zone; an IPv4 address mapped into IPv6 as itself. `undefined` for what is no address. */
function normalAddress(text: string): string | undefined {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? text.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1');
  const address = bare.replace(/%.*$/, '');
  return ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address)
    ? ipaddr.process(address).toString()
    : undefined;
}
