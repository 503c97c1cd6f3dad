import { escapeHtml } from '../http/html.ts';
import { look } from '../http/look.ts';

/** Seconds after which a page that waits for something looks again. */
const again = 2;

/** A page that says one thing, for a visitor of a preview. `waits`: it looks again by itself. */
export function previewPage(
  message: string,
  { waits }: { readonly waits: boolean },
): { body: string; headers: [string, string][] } {
  const refresh = waits ? `<meta http-equiv="refresh" content="${again}">` : '';
  const body = `<!doctype html><html lang="en"><meta charset="utf-8">${refresh}<meta name="viewport" content="width=device-width">
<title>Preview</title><style>${look}</style><main><p>${escapeHtml(message)}</p></main></html>`;
  const headers: [string, string][] = [
    ['Content-Type', 'text/html; charset=utf-8'],
    ['Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'"],
    ['Cache-Control', 'no-store'],
    ['Referrer-Policy', 'no-referrer'],
    ['X-Content-Type-Options', 'nosniff'],
  ];
  return { body, headers };
}
