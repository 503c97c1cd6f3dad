import { test } from 'node:test';
import assert from 'node:assert/strict';
import { allTools, toolTable, unknownTools } from '../../src/mcp/tool-set.ts';

const parse = (name: string, args: unknown) => allTools.find((tool) => tool.name === name)!.parse(args);

for (const [tool, args, message] of [
  ['execute_command', {}, '`command` is required by execute_command: expected a string, got nothing.'],
  ['execute_command', { command: 5 }, '`command` must be a string, got 5.'],
  ['execute_command', { command: 'a', timeout: 'soon' }, '`timeout` must be a number, got "soon".'],
  ['execute_command', { command: 'a', timeout: 0 }, '`timeout` must be more than 0, got 0.'],
  ['execute_command', { command: 'a', wait: -1 }, '`wait` must be at least 0, got -1.'],
  [
    'execute_command',
    { command: 'a', timout: 5 },
    '"timout" is not an argument of execute_command, which takes command, timeout, wait, raw, sandbox.',
  ],
  ['execute_command', { command: ['a'] }, '`command` must be a string, got an array.'],
  [
    'execute_command',
    { command: '\ud800' },
    '`command` must be well-formed Unicode text (it holds half a surrogate pair), got "\\ud800".',
  ],
  ['execute_command', 'ls', 'The arguments object must be an object, got "ls".'],
  [
    'execute_command',
    { command: 'a', sandbox: 'x'.repeat(200) },
    `\`sandbox\` must be at most 128 characters long, got "${'x'.repeat(48)}…".`,
  ],
  ['check_command', { command_id: 'c1', offset: 1.5 }, '`offset` must be a whole number, got 1.5.'],
  ['check_command', { command_id: 'c1', wait: 301 }, '`wait` must be at most 300, got 301.'],
  ['stop_command', { command_id: 'c1', signal: 'HUP' }, '`signal` must be one of "INT", "TERM", "KILL", got "HUP".'],
  [
    'upload_file',
    { path: 'a', content: 'x', mode: '999' },
    '`mode` must be octal permission bits like "755", got "999".',
  ],
  ['send_shell_input', { sessionId: 't', keys: ['up', 3] }, '`keys.1` must be a string, got 3.'],
  ['list_sandboxes', { all: true }, '"all" is not an argument of list_sandboxes, which takes no arguments.'],
] as const)
  test(message, () => assert.throws(() => parse(tool, args), { code: 'invalid_argument', message }));

test('null stands for an argument left out', () => {
  assert.deepEqual(parse('execute_command', { command: 'ls', timeout: null, sandbox: null }), { command: 'ls' });
});

test('every tool fits clients that flatten schemas and count characters', () => {
  for (const { listed } of allTools) {
    const json = JSON.stringify(listed.inputSchema);
    assert.match(listed.name, /^[a-z_]{3,24}$/);
    assert.doesNotMatch(json, /"(oneOf|anyOf|allOf|\$ref|\$defs)"/, listed.name);
    assert.equal(listed.inputSchema['additionalProperties'], false);
    assert.deepEqual(Object.keys(listed.annotations).sort(), [
      'destructiveHint',
      'idempotentHint',
      'openWorldHint',
      'readOnlyHint',
    ]);
    assert.ok(listed.description.length > 50 && listed.title.length > 3);
  }
});

test('the tools are those of the contract', () => {
  assert.deepEqual(
    allTools.map((tool) => tool.name),
    [
      'execute_command',
      'check_command',
      'stop_command',
      'get_working_directory',
      'reset_session',
      'upload_file',
      'download_file',
      'list_files',
      'edit_file',
      'share_file',
      'request_upload',
      'fetch_attachments',
      'start_shell_session',
      'send_shell_input',
      'read_shell_output',
      'resize_shell_session',
      'list_shell_sessions',
      'end_shell_session',
      'create_sandbox',
      'list_sandboxes',
      'end_sandbox',
      'sandbox_status',
    ],
  );
  assert.deepEqual(unknownTools(['edit_file', 'edit_files']), ['edit_files']);
});

test('the table has a row per tool', () => {
  assert.equal(toolTable().split('\n').length, allTools.length + 2);
  assert.match(
    toolTable(),
    /^\| `get_working_directory` \| `sandbox` \| The directory the persistent shell is in\. \|$/m,
  );
});
