/** How a browser may show a file: the type it is told, and what the page may do. */
export interface ShownAs {
  readonly type: string;
  readonly policy: string;
}

const still = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'";
/** The viewer of a browser is no page of ours, and does not start in a sandboxed one. */
const viewer =
  "default-src 'none'; object-src 'self'; frame-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'";
/** A report may compute and be interactive, in an origin of its own and without a network. */
const page =
  "sandbox allow-scripts allow-popups allow-downloads allow-modals; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; style-src 'unsafe-inline' data:; img-src data: blob:; font-src data:; media-src data: blob:; worker-src blob:; connect-src data: blob:; form-action 'none'; base-uri 'none'";

const pictures: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  avif: 'image/avif',
  svg: 'image/svg+xml',
};

const texts =
  'txt text log md markdown csv tsv json jsonl yaml yml toml ini cfg conf py ipynb js mjs ts tsx jsx css sh bash c h cc cpp hpp rs go java kt rb php pl r sql tex diff patch xml';

const kinds = new Map<string, ShownAs>([
  ...Object.entries(pictures).map(([name, type]) => [name, { type, policy: still }] as const),
  ...texts.split(' ').map((name) => [name, { type: 'text/plain; charset=utf-8', policy: still }] as const),
  ['pdf', { type: 'application/pdf', policy: viewer }],
  ['html', { type: 'text/html; charset=utf-8', policy: page }],
  ['htm', { type: 'text/html; charset=utf-8', policy: page }],
]);

/** By the name's ending; `undefined` for what is only downloaded. */
export function shownAs(path: string): ShownAs | undefined {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return kinds.get(name.slice(name.lastIndexOf('.') + 1).toLowerCase());
}
