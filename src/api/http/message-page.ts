import { escapeHtml } from './html.ts';
import { look } from './look.ts';

/** A page that says one thing. */
export function messagePage(status: number, message: string): Response {
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Berth</title><style>${look}</style><main><p>${escapeHtml(message)}</p></main></html>`;
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
  return new Response(html, { status, headers });
}
