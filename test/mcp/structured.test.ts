import { test } from 'node:test';
import assert from 'node:assert/strict';
import { modernCall, modernHeaders, post, request } from '../support/raw.ts';
import { startServer, type TestServer } from '../support/server.ts';

const tool = 'execute_command';
const args = { command: 'hex 1b5b33316d61ff' };

async function inSession(server: TestServer, name: string) {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name, version: '1' } };
  const opened = await post(server.mcp, request('initialize', params));
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id')! };
  return (await post(server.mcp, request('tools/call', { name: tool, arguments: args }), session)).messages.at(-1);
}

async function modern(server: TestServer, name: string) {
  const meta = { 'io.modelcontextprotocol/clientInfo': { name, version: '1' } };
  return (await post(server.mcp, modernCall(tool, args, meta), modernHeaders(tool))).messages.at(-1);
}

const eras = { 'in a session': inSession, 'in 2026-07-28': modern };

for (const [era, call] of Object.entries(eras)) {
  for (const [client, mcp, given] of [
    ['mcp', {}, true],
    ['claude-code', {}, false],
    ['Claude-Code', {}, false],
    ['mcp', { text_clients: ['mcp'] }, false],
    ['claude-code', { text_clients: [] }, true],
    ['claude-code', { structured: 'always' }, true],
    ['mcp', { structured: 'never' }, false],
  ] as const)
    test(`${era} ${client} with ${JSON.stringify(mcp)} gets ${given ? 'both forms' : 'the text alone'}`, async () => {
      await using server = await startServer({ config: { mcp } });
      const answer = await call(server, client);
      assert.match(answer?.result?.content?.[0]?.text ?? '', /^a\\xff\n\[note: the output is not UTF-8[^]*\[exit 0/);
      assert.equal(answer?.result?.structuredContent !== undefined, given, JSON.stringify(answer));
    });

  test(`${era} who shows the structured form alone sees the notes and no escapes`, async () => {
    await using server = await startServer();
    const fields = (await call(server, 'another'))?.result?.structuredContent;
    assert.equal(fields?.['stdout'], 'a\\xff');
    assert.match(String(fields?.['notes']), /^the output is not UTF-8/);
  });
}
