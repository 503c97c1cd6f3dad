/** A parameter or a body's property as JSON Schema has it; Open WebUI keeps the type, the description and array items. */
type Field = Readonly<{
  type: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object';
  description: string;
  default?: unknown;
  items?: object;
  additionalProperties?: object;
}>;

type Fields = Readonly<Record<string, Field>>;

/** A route that is also a tool: Open WebUI names the tool by `id` and hangs effects on it (`write_file` refreshes the pane). */
export interface Operation {
  readonly id: string;
  readonly method: 'get' | 'post' | 'delete';
  /** As OpenAPI has it, with `{name}` for what is part of the path. */
  readonly path: string;
  readonly description: string;
  readonly query?: Fields;
  readonly body?: Fields;
  /** Names of fields that must be there. */
  readonly required?: readonly string[];
  /** In the minimal set, too. */
  readonly minimal?: true;
}

const path: Field = { type: 'string', description: 'Absolute, or relative to /workspace.' };
const wait: Field = { type: 'number', description: 'Seconds to wait for the end, 0 to 300; 30 when left out.' };
const input: Field = { type: 'string', description: 'Text to type; end it with a newline to press Enter.' };

/** Every operation that a model is offered, once: the OpenAPI document is made from it. */
export const operations: readonly Operation[] = [
  {
    id: 'list_files',
    method: 'get',
    path: '/files/list',
    description: 'Files and directories in a directory of your computer.',
    query: { directory: { ...path, default: '.' } },
  },
  {
    id: 'read_file',
    method: 'get',
    path: '/files/read',
    description: 'A text file with its number of lines, or an image. Pass start_line and end_line for a part.',
    query: {
      path,
      start_line: { type: 'integer', description: 'First line, counted from 1.' },
      end_line: { type: 'integer', description: 'Last line, included.' },
    },
    required: ['path'],
  },
  {
    id: 'display_file',
    method: 'get',
    path: '/files/display',
    description:
      'Show a file to the user in their file viewer. It returns no content: to read a file yourself, read it.',
    query: { path },
    required: ['path'],
    minimal: true,
  },
  {
    id: 'write_file',
    method: 'post',
    path: '/files/write',
    description: 'Write a text file whole; directories are made, an old file is replaced.',
    body: { path, content: { type: 'string', description: 'The whole text.' } },
    required: ['path', 'content'],
  },
  {
    id: 'replace_file_content',
    method: 'post',
    path: '/files/replace',
    description: 'Replace exact text in a file. Each target must occur once, unless allow_multiple is true.',
    body: {
      path,
      replacements: {
        type: 'array',
        description: 'Done one after another; nothing is written unless all can be done.',
        items: {
          type: 'object',
          properties: {
            target: { type: 'string', description: 'Exact text to find, spaces included.' },
            replacement: { type: 'string', description: 'What takes its place.' },
            start_line: { type: 'integer', description: 'Look from this line on.' },
            end_line: { type: 'integer', description: 'Look up to this line.' },
            allow_multiple: { type: 'boolean', description: 'Replace every occurrence.', default: false },
          },
          required: ['target', 'replacement'],
        },
      },
    },
    required: ['path', 'replacements'],
  },
  {
    id: 'search_files',
    method: 'get',
    path: '/files/search',
    description: 'Files whose name contains a text.',
    query: {
      query: { type: 'string', description: 'A part of the name.', default: '' },
      path: { ...path, default: '.' },
      limit: { type: 'integer', description: 'At most so many, up to 100.', default: 20 },
      type: { type: 'string', description: 'file, directory or any.', default: 'any' },
    },
  },
  {
    id: 'glob_search',
    method: 'get',
    path: '/files/glob',
    description: 'Files whose path matches a glob pattern such as **/*.py.',
    query: {
      pattern: { type: 'string', description: 'A pattern with *, ** and ?.' },
      path: { ...path, default: '.' },
      type: { type: 'string', description: 'file, directory or any.', default: 'any' },
      max_results: { type: 'integer', description: 'At most so many, up to 500.', default: 50 },
    },
    required: ['pattern'],
  },
  {
    id: 'list_processes',
    method: 'get',
    path: '/execute',
    description: 'Commands that run on your computer, and those that ended in the last five minutes.',
  },
  {
    id: 'run_command',
    method: 'post',
    path: '/execute',
    description:
      'Run a bash command on your computer, in one shell that remembers directory, variables and functions. A command that outlasts wait goes on; follow it with get_process_status.',
    query: { wait, tail: { type: 'integer', description: 'Only so many of the last output entries.' } },
    body: {
      command: { type: 'string', description: 'Bash script, one line or many.' },
      cwd: { type: 'string', description: 'Run it there, in a subshell that changes nothing for later commands.' },
      env: {
        type: 'object',
        description: 'Variables for this command alone.',
        additionalProperties: { type: 'string' },
      },
    },
    required: ['command'],
  },
  {
    id: 'get_process_status',
    method: 'get',
    path: '/execute/{process_id}/status',
    description: 'New output, status and exit code of a command. Pass next_offset of the last answer as offset.',
    query: {
      wait: { ...wait, description: 'Seconds to wait for news, 0 to 300.' },
      offset: { type: 'integer', description: 'next_offset of the last answer.', default: 0 },
      tail: { type: 'integer', description: 'Only so many of the last output entries.' },
    },
  },
  {
    id: 'send_process_input',
    method: 'post',
    path: '/execute/{process_id}/input',
    description: 'Type into a command that reads from a keyboard.',
    body: { input },
    required: ['input'],
  },
  {
    id: 'kill_process',
    method: 'delete',
    path: '/execute/{process_id}',
    description: 'End a command: TERM, or KILL with force.',
    query: { force: { type: 'boolean', description: 'KILL at once.', default: false } },
  },
  {
    id: 'read_user_terminal',
    method: 'get',
    path: '/api/terminals/user/output',
    description: "What the user's own shell shows. Look before you type: a program may be running in it.",
    minimal: true,
  },
  {
    id: 'send_user_terminal_input',
    method: 'post',
    path: '/api/terminals/user/input',
    description: "Type into the user's own shell, or the program in it. Look with read_user_terminal before and after.",
    body: { input },
    required: ['input'],
    minimal: true,
  },
];

export type ToolChoice = 'native' | 'minimal' | 'none';

/** Open WebUI fails every chat whose terminal offers no tool at all: `none` keeps the one that only shows a file. */
export function offered(choice: ToolChoice): readonly Operation[] {
  if (choice === 'native') return operations;
  if (choice === 'none') return operations.filter(({ id }) => id === 'display_file');
  return operations.filter(({ minimal }) => minimal);
}
