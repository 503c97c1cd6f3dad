import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { hopByHop } from '../lib/hop-by-hop.ts';

/** What is not passed on. */
const perHop: ReadonlySet<string> = new Set([...hopByHop, 'expect']);

/** The headers as the next hop gets them. */
export function passedOn(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = new Set(
    String(headers.connection ?? '')
      .toLowerCase()
      .split(/\s*,\s*/),
  );
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !perHop.has(name) && !named.has(name)));
}

/** Whether bytes follow the headers. Either of the two may be missing from what is passed on. */
export function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined;
}
