import type { Recorded } from './recorder.ts';

/** One request of a recorded run, with names in place of what differs from run to run. */
export interface WireStep {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The JSON-RPC message of a POST. */
  readonly body?: unknown;
}

const transport = ['host', 'connection', 'content-length', 'accept-encoding', 'transfer-encoding'];

/** What a test replays of recorded requests. `names` maps a value that came (an id, a key) to its name. */
export function wireOf(entries: readonly Recorded[], names: Readonly<Record<string, string>>): WireStep[] {
  const swap = (text: string) =>
    Object.entries(names).reduce((kept, [value, name]) => kept.replaceAll(value, `{{${name}}}`), text);
  return entries.map(({ method, headers, sent }) => ({
    method,
    headers: Object.fromEntries(
      Object.entries(headers)
        .filter(([name]) => !transport.includes(name))
        .map(([name, value]) => [name, swap(String(value))]),
    ),
    ...(sent && { body: JSON.parse(swap(sent)) as unknown }),
  }));
}
