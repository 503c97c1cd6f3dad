import { describeConfig, settleAuth, type ShownSetting } from '../config.ts';
import { hasStoredKeys } from '../identity/key-store.ts';
import { type Invocation, settings } from './invocation.ts';

/** Prints the settings in force, each with its source; nothing secret. */
export async function showConfig(invocation: Invocation): Promise<number> {
  const { config: asked, sources, notes } = settings(invocation);
  const config = hasStoredKeys(asked.server.state_dir) ? settleAuth(asked, true) : asked;
  const rows = describeConfig(config, sources);
  const text = invocation.flags['json'] ? json(rows) : table(rows);
  invocation.out.write(`${text}\n`);
  for (const note of notes) invocation.err.write(`${note}\n`);
  return 0;
}

function json(rows: readonly ShownSetting[]): string {
  return JSON.stringify(Object.fromEntries(rows.map(({ key, raw, source }) => [key, { value: raw, source }])), null, 2);
}

function table(rows: readonly ShownSetting[]): string {
  const widest = (column: 'key' | 'value') => Math.min(60, Math.max(...rows.map((row) => row[column].length)));
  const [keys, values] = [widest('key'), widest('value')];
  return rows.map(({ key, value, source }) => `${key.padEnd(keys)}  ${value.padEnd(values)}  ${source}`).join('\n');
}
