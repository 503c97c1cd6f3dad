// Runs in the machine, against its server: what a person's client does, and what has to be true afterwards.
import assert from 'node:assert/strict';
import { BenchClient } from '../bench/client.ts';

const url = 'http://127.0.0.1:3000';
const steps: Record<string, (client: BenchClient) => Promise<void>> = {
  async client(client) {
    await client.run('export word=kept; cd /tmp');
    await client.call('upload_file', { path: '/workspace/a.txt', content: 'of a client\n' });
    assert.equal((await client.run('cat /workspace/a.txt; pwd'))['stdout'], 'of a client\n/tmp\n');
    const { sessionId } = await client.call('start_shell_session');
    await client.call('send_shell_input', { sessionId, input: 'echo $((6 * 7))' });
    const { output } = await client.call('read_shell_output', { sessionId, wait: 10, until: '42' });
    assert.match(String(output), /42/);
  },
  async restarted(client) {
    assert.equal((await client.run('echo $word; pwd'))['stdout'], 'kept\n/tmp\n');
  },
  async out_of_memory(client) {
    await cause(client, 'head -c 3G /dev/zero | tail', 'out_of_memory');
  },
  async disk_full(client) {
    await cause(client, 'head -c 300M /dev/zero > /tmp/full', 'disk_full');
    await client.run('rm /tmp/full');
  },
  async pids_limit(client) {
    await cause(client, 'for i in {1..600}; do sleep 2 & done; wait; exit 1', 'pids_limit');
  },
};

async function cause(client: BenchClient, command: string, code: string): Promise<void> {
  const told = await client.call('execute_command', { command: `bash -c ${JSON.stringify(command)}`, timeout: 60 });
  assert.match(JSON.stringify(told['cause'] ?? told), new RegExp(code));
}

const [step = ''] = process.argv.slice(2);
await steps[step]!(await BenchClient.connect(url, 'engines'));
