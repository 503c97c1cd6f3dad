/** One request of the panes, by which two servers are compared. `~` stands for the server's home directory. */
export interface Deed {
  readonly name: string;
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
}

/** In this order: later ones see what earlier ones did. */
export const deeds: readonly Deed[] = [
  { name: 'config', path: '/api/config' },
  { name: 'system', path: '/system' },
  { name: 'cwd', path: '/files/cwd' },
  { name: 'no skills', path: '/skills' },
  { name: 'an empty list of commands', path: '/execute' },
  { name: 'no ports', path: '/ports' },
  { name: 'write', path: '/files/write', body: { path: '~/dir/a.txt', content: 'one\ntwo\nthree\n' } },
  { name: 'change directory', path: '/files/cwd', body: { path: '~' } },
  { name: 'change to a directory that is not there', path: '/files/cwd', body: { path: '~/nowhere' } },
  { name: 'list a directory', path: '/files/list?directory=~/dir' },
  { name: 'list what is not there', path: '/files/list?directory=~/nowhere' },
  { name: 'read', path: '/files/read?path=~/dir/a.txt' },
  { name: 'read lines', path: '/files/read?path=~/dir/a.txt&start_line=2&end_line=2' },
  { name: 'read what is not there', path: '/files/read?path=~/nowhere' },
  { name: 'display', path: '/files/display?path=~/dir/a.txt' },
  {
    name: 'replace',
    path: '/files/replace',
    body: { path: '~/dir/a.txt', replacements: [{ target: 'two', replacement: '2' }] },
  },
  {
    name: 'replace what is not there',
    path: '/files/replace',
    body: { path: '~/dir/a.txt', replacements: [{ target: 'four', replacement: '4' }] },
  },
  { name: 'search', path: '/files/search?query=a.txt&path=~' },
  { name: 'glob', path: '/files/glob?pattern=*.txt&path=~' },
  { name: 'mkdir', path: '/files/mkdir', body: { path: '~/made' } },
  { name: 'run', path: '/execute?wait=10', body: { command: 'echo hi' } },
  { name: 'the list of commands', path: '/execute' },
  { name: 'a process that is not there', path: '/execute/none/status' },
  { name: 'kill what is not there', method: 'DELETE', path: '/execute/none' },
  { name: 'open a terminal', method: 'POST', path: '/api/terminals' },
  { name: 'terminals', path: '/api/terminals' },
  { name: 'a terminal that is not there', path: '/api/terminals/none' },
  { name: 'no shell of the user', path: '/api/terminals/user/output' },
];

/** Statuses of refusals are all that is compared of them, beside there being a `detail`. */
export interface Shape {
  readonly status: number;
  readonly body: unknown;
}

export async function shapesOf(base: string, headers: Record<string, string>): Promise<Record<string, Shape>> {
  const { home } = (await (await fetch(`${base}/files/cwd`, { headers })).json()) as { home: string };
  const shapes: Record<string, Shape> = {};
  for (const { name, path, body, method = body === undefined ? 'GET' : 'POST' } of deeds) {
    const sent = body === undefined ? {} : { body: JSON.stringify(body).replaceAll('~', home) };
    const init = { method, headers: { ...headers, 'content-type': 'application/json' }, ...sent };
    const answer = await fetch(base + path.replaceAll('~', home), init);
    shapes[name] = { status: answer.status, body: shapeOf(await answer.json()) };
  }
  return shapes;
}

/** The types of a value; of an array those of its first element. */
export function shapeOf(value: unknown): unknown {
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== 'object') return typeof value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, one]) => [key, shapeOf(one)]));
}

/** What Berth answers otherwise, and why. */
export const differences: Readonly<Record<string, { readonly why: string; readonly shape: Shape }>> = {
  'open a terminal': {
    why: 'a process number means nothing outside the sandbox',
    shape: { status: 200, body: { created_at: 'string', id: 'string', pid: 'null' } },
  },
  'a terminal that is not there': {
    why: 'every error is a detail',
    shape: { status: 404, body: { detail: 'string' } },
  },
  terminals: {
    why: 'a process number means nothing outside the sandbox',
    shape: { status: 200, body: [{ created_at: 'string', id: 'string', pid: 'null' }] },
  },
};
