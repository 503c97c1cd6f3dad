import { ServerProcess } from '../support/server-process.ts';
import { copies } from './copy.ts';
import { quantile, times } from './numbers.ts';
import { RawContainer } from './raw.ts';
import { openSandbox, type Sandbox } from './sandbox.ts';
import type { Row } from './table.ts';
import { throughTools } from './tool-files.ts';

/** A gibibyte in and out, fifty megabytes through the tools, and a small file. */
export async function files(): Promise<Row[]> {
  await using server = await ServerProcess.start({ BERTH_TEMPLATES__DATA__DISK: '8GiB' });
  const sandbox = await openSandbox(server, 'files');
  return [...(await copies(sandbox)), ...(await throughTools(sandbox)), ...(await small(sandbox))];
}

async function small({ client }: Sandbox): Promise<Row[]> {
  await using raw = await RawContainer.start();
  const upload = () => client.call('upload_file', { path: 'small', content: 'x'.repeat(1000) });
  const value = quantile(await times(20, upload), 0.5);
  const exec = quantile(await times(20, () => raw.exec(['true'])), 0.5);
  return [
    { name: 'a small file through `upload_file`', value, unit: 'ms', baseline: { name: 'an exec', value: exec } },
  ];
}
