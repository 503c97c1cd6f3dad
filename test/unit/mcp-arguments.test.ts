import { test } from 'node:test';
import assert from 'node:assert/strict';
import { allTools, toolTable, unknownTools } from '../../src/api/mcp/tool-set.ts';

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
      'move_file',
      'remove_file',
      'make_directory',
      'search_files',
      'share_file',
      'request_upload',
      'share_port',
      'list_ports',
      'fetch_attachments',
      'start_shell_session',
      'send_shell_input',
      'read_shell_output',
      'resize_shell_session',
      'list_shell_sessions',
      'end_shell_session',
      'create_sandbox',
      'list_sandboxes',
      'keep_sandbox',
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

test('no schema shows a bound that compilers of grammars refuse; its description tells it', () => {
  for (const { listed } of allTools) {
    const json = JSON.stringify(listed.inputSchema);
    assert.doesNotMatch(json, /"exclusiveM|"maximum":\d{6,}/, listed.name);
    assert.doesNotMatch(json, /"max(Length|Items)":(1[3-9]\d|[2-9]\d\d|\d{4,})/, listed.name);
  }
  const { inputSchema } = allTools.find((tool) => tool.name === 'create_sandbox')!.listed;
  assert.deepEqual((inputSchema['properties'] as Record<string, unknown>)['ttl'], {
    type: 'number',
    description:
      'Seconds after which it is removed in any case; keep_sandbox puts that off. More than 0. At most 31536000.',
  });
  const long = { path: 'x'.repeat(5000), content: '' };
  assert.throws(() => parse('upload_file', long), { code: 'invalid_argument', message: /at most 4096 characters/ });
});

for (const [tool, args, meant] of [
  ['execute_command', { command: 'a', timeout: '30' }, { command: 'a', timeout: 30 }],
  ['execute_command', { command: 'a', raw: 'False', sandbox: '' }, { command: 'a', raw: false }],
  ['execute_command', { command: '30' }, { command: '30' }],
  ['check_command', { command_id: 'c1', offset: '7', wait: '' }, { command_id: 'c1', offset: 7 }],
  ['upload_file', { path: 'a', content: '', mode: 755 }, { path: 'a', content: '', mode: '755' }],
  ['upload_file', { path: 'a', content: { b: [1] } }, { path: 'a', content: '{\n  "b": [\n    1\n  ]\n}' }],
  ['send_shell_input', { sessionId: 't', keys: '["up"]' }, { sessionId: 't', keys: ['up'] }],
  ['send_shell_input', { sessionId: 't', input: '' }, { sessionId: 't', input: '' }],
  ['stop_command', { command_id: 'c1', signal: '' }, { command_id: 'c1' }],
] as const)
  test(`${tool} takes ${JSON.stringify(args)}`, () => assert.deepEqual(parse(tool, args), meant));

test('"" and text of no single meaning stay errors', () => {
  assert.throws(() => parse('end_shell_session', { sessionId: '' }), { message: /sessionId/ });
  assert.throws(() => parse('execute_command', { command: 'a', timeout: '30s' }), {
    message: /`timeout` must be a number/,
  });
  assert.throws(() => parse('execute_command', { command: 'a', raw: 'maybe' }), { message: /`raw` must be/ });
  assert.throws(() => parse('execute_command', { command: 'a', '': '' }), { message: /is not an argument/ });
});
