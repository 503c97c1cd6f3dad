import { hopByHop } from '../../lib/hop-by-hop.ts';
import { validateHeaderName, validateHeaderValue } from 'node:http';

/** Names and values in their order, as they came. */
export type Headers = readonly (readonly [string, string])[];

/** Pairs from Node's flat list. */
export function pairsOf(raw: readonly string[]): Headers {
  return Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i] ?? '', raw[2 * i + 1] ?? ''] as const);
}

export function valuesOf(headers: Headers, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** They speak of one connection and are written anew for the next. */
const perHop = new Set([...hopByHop, 'http2-settings']);

/** Only a proxy may say these. */
const forwarding = /^(x-forwarded-|x-real-ip$|forwarded$|via$)/;

/** Berth's own cookies. */
export const cookieNames = ['__Host-berth-preview', 'berth-preview'] as const;

export interface RequestRules {
  readonly host: string;
  /** What a program that checks it expects; absent: as it came. */
  readonly origin?: string;
  readonly forwarded: { readonly for: string; readonly host: string; readonly proto: string; readonly prefix?: string };
  /** True where `Authorization` was meant for Berth. */
  readonly withoutAuthorization: boolean;
  readonly upgrade: string | undefined;
}

/** What the program gets to see. The body's length is the caller's to say. */
export function requestHeaders(headers: Headers, rules: RequestRules): [string, string][] {
  const dropped = new Set([...connectionNames(headers), 'host', 'content-length', 'expect']);
  if (rules.withoutAuthorization) dropped.add('authorization');
  const kept = headers.flatMap(([name, value]): [string, string][] => {
    const key = name.toLowerCase();
    if (dropped.has(key) || perHop.has(key) || forwarding.test(key) || key.startsWith('x-berth-')) return [];
    if (key === 'cookie') return withoutOwnCookies(value).map((cookies) => [name, cookies]);
    if (key === 'origin' && rules.origin !== undefined) return [[name, rules.origin]];
    if (key === 'sec-websocket-protocol') return withoutBearer(value).map((offered) => [name, offered]);
    return [[name, value]];
  });
  const { for: address, host, proto, prefix } = rules.forwarded;
  return [
    ['Host', rules.host],
    ...kept,
    ['X-Forwarded-For', address],
    ['X-Forwarded-Host', host],
    ['X-Forwarded-Proto', proto],
    ...(prefix === undefined ? [] : [['X-Forwarded-Prefix', prefix] as [string, string]]),
    ...(rules.upgrade === undefined
      ? []
      : ([
          ['Connection', 'Upgrade'],
          ['Upgrade', rules.upgrade],
        ] as [string, string][])),
  ];
}

function connectionNames(headers: Headers): string[] {
  return valuesOf(headers, 'connection').flatMap((value) => value.split(',').map((name) => name.trim().toLowerCase()));
}

function withoutOwnCookies(value: string): string[] {
  const own = new Set<string>(cookieNames);
  const kept = value.split(';').filter((cookie) => !own.has(cookie.split('=', 1)[0]?.trim() ?? ''));
  const text = kept.join(';').trim();
  return text === '' ? [] : [text];
}

function withoutBearer(value: string): string[] {
  const kept = value.split(',').filter((name) => !name.trim().startsWith('bearer.'));
  return kept.length === 0 ? [] : [kept.join(',').trim()];
}

/** They reach beyond the preview: to other origins, to the browser's whole state, or to other ports and times. */
const confined = new Set([
  'alt-svc',
  'clear-site-data',
  'strict-transport-security',
  'public-key-pins',
  'expect-ct',
  'nel',
  'report-to',
  'reporting-endpoints',
  'set-cookie2',
]);

export interface ResponseRules {
  /** Where the preview is a path below Berth's own origin: nothing of the program's may act there. */
  readonly prefix?: string;
  /** `localhost:8000`, as the program names itself in redirects. */
  readonly self: string;
  /** `http://label.localhost:3000`. */
  readonly origin: string;
}

/** What the visitor gets to see. */
export function responseHeaders(headers: Headers, rules: ResponseRules): [string, string][] {
  const dropped = new Set(connectionNames(headers));
  const kept = headers.flatMap(([name, value]): [string, string][] => {
    const key = name.toLowerCase();
    if (!isValid(name, value) || dropped.has(key) || perHop.has(key) || confined.has(key)) return [];
    if (key === 'set-cookie')
      return rules.prefix === undefined ? hostCookie(value).map((cookie) => [name, cookie]) : [];
    if (key === 'location' || key === 'content-location') return [[name, relocated(value, rules)]];
    if (rules.prefix !== undefined && (key === 'service-worker-allowed' || key === 'content-security-policy'))
      return [];
    return [[name, value]];
  });
  return rules.prefix === undefined
    ? kept
    : [...kept, ['Content-Security-Policy', opaque], ['Referrer-Policy', 'no-referrer']];
}

/** A page in it has no origin: it can neither read Berth's answers nor keep anything there. */
const opaque = 'sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads';

function isValid(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}

/** The cookie for this host alone; none where it takes the name of one of Berth's. */
function hostCookie(value: string): string[] {
  const [pair = '', ...attributes] = value.split(';');
  const name = pair.split('=', 1)[0]?.trim().toLowerCase() ?? '';
  if (cookieNames.some((own) => own.toLowerCase() === name)) return [];
  return [[pair, ...attributes.filter((attribute) => !/^\s*domain\s*(=|$)/i.test(attribute))].join(';')];
}

/** Redirects to itself, by whatever name, stay in the preview. */
function relocated(value: string, { prefix = '', self, origin }: ResponseRules): string {
  const url = URL.parse(value, `http://${self}/`);
  const port = self.slice(self.lastIndexOf(':') + 1);
  const own = new Set([self, `127.0.0.1:${port}`, `0.0.0.0:${port}`, `[::1]:${port}`]);
  if (!url || !/^[a-z][a-z0-9+.-]*:|^\/\//i.test(value)) return value.startsWith('/') ? prefix + value : value;
  return own.has(url.host) ? origin + prefix + url.pathname + url.search + url.hash : value;
}
