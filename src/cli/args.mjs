import { parseArgs } from 'node:util';

/**
 * @typedef {{ type: 'boolean' | 'string', value?: string, about: string }} Flag
 * @typedef {{ about: string, flags: Record<string, Flag>, development?: true, rest?: string, usage?: string[] }} Command
 * @typedef {{ command: string, flags: Record<string, string | boolean | undefined>, rest: string[] }} Arguments
 */

/** @type {Record<string, Flag>} */
const server = {
  config: { type: 'string', value: 'FILE', about: 'settings file (BERTH_CONFIG_FILE)' },
  host: { type: 'string', value: 'ADDRESS', about: 'address to listen on (BERTH_SERVER__HOST)' },
  port: { type: 'string', value: 'NUMBER', about: 'port to listen on (BERTH_SERVER__PORT)' },
};
const { config } = server;
/** @type {Flag} */
const json = { type: 'boolean', about: 'print JSON' };

/** @type {Record<string, Command>} */
export const commands = {
  up: {
    about: 'make this machine ready (Docker, images), start the server and prove that it works',
    flags: { ...server, rebuild: { type: 'boolean', about: 'make the images anew, from the newest packages' } },
  },
  serve: { about: 'start the server; everything it needs must be there', flags: server },
  guard: {
    about: 'stand before the engine’s socket and let through only what the server needs',
    flags: { ...(config && { config }) },
  },
  doctor: {
    about: 'check the host, attack throw-away sandboxes, and print what holds',
    flags: { ...(config && { config }), json, quick: { type: 'boolean', about: 'look only, attack nothing' } },
  },
  config: {
    about: 'print the settings in force and where each comes from',
    flags: { ...(config && { config }), json },
  },
  key: {
    about: 'make, list and revoke API keys, also while the server runs',
    rest: 'NAME',
    usage: ['create NAME', 'list', 'revoke NAME-OR-ID'],
    flags: {
      ...(config && { config }),
      templates: { type: 'string', value: 'A,B', about: 'create: only these templates' },
      scopes: { type: 'string', value: 'A,B', about: 'create: tools, files, terminals, metrics, read' },
      users: { type: 'string', value: 'HOW', about: 'create: serves many users, named by headers or signed' },
      expires: { type: 'string', value: 'WHEN', about: 'create: 90d, 12h, or a date' },
      json,
    },
  },
  ps: {
    about: 'list the sandboxes of the running server: whose they are and what they use',
    flags: { ...(config && { config }), json },
  },
  stop: {
    about: 'stop a sandbox of the running server; its workspace stays',
    rest: 'HANDLE',
    usage: ['HANDLE'],
    flags: { ...(config && { config }), json },
  },
  end: {
    about: 'remove a sandbox of the running server, with its workspace',
    rest: 'HANDLE',
    usage: ['HANDLE'],
    flags: { ...(config && { config }), json },
  },
  workspace: {
    about: 'list, adopt and remove workspaces that no sandbox has, also while the server runs',
    rest: 'NAME',
    usage: ['list', 'adopt NAME --owner WHO', 'prune NAME …'],
    flags: {
      ...(config && { config }),
      owner: { type: 'string', value: 'WHO', about: 'adopt: the principal, as the audit log names it' },
      template: { type: 'string', value: 'NAME', about: 'adopt: the template; else session.template' },
      json,
    },
  },
  backup: {
    about: 'copy the state to a file, also while the server runs',
    rest: 'FILE',
    usage: ['FILE'],
    flags: { ...(config && { config }) },
  },
  restore: {
    about: 'put such a file in the state’s place; the server must be stopped',
    rest: 'FILE',
    usage: ['FILE'],
    flags: { ...(config && { config }) },
  },
  audit: {
    about: 'check that nobody changed the audit log',
    rest: 'FILE',
    usage: ['verify [FILE]'],
    flags: { ...(config && { config }), json },
  },
  test: { about: 'set up, check the code, run all tests', flags: {}, development: true, rest: 'FILE' },
  'test:unit': {
    about: 'run the tests that need neither an engine nor root',
    flags: {},
    development: true,
    rest: 'FILE',
  },
  check: { about: 'types, lint and format', flags: {}, development: true },
  bench: { about: 'measure', flags: {}, development: true, rest: 'ARGUMENT' },
  'e2e:open-webui': {
    about: 'a real Open WebUI in front of a real server',
    flags: {},
    development: true,
    rest: 'VERSION',
  },
  'test:engines': { about: 'other engines, each on a machine of its own', flags: {}, development: true, rest: 'WORD' },
  soak: { about: 'run for long under random faults', flags: {}, development: true, rest: 'ARGUMENT' },
  mutants: { about: 'break each defence, and see its test fail', flags: {}, development: true, rest: 'WORD' },
};

/** A command line that cannot be read. The message is one sentence for the person who typed it. */
export class UsageError extends Error {
  /** @override */
  name = 'UsageError';
}

/**
 * Reads a command line. Throws a `UsageError` that names the unknown command, flag or surplus word.
 * `help` and `version` come back as commands of their own.
 * @param {string[]} argv
 * @returns {Arguments}
 */
export function readArguments(argv) {
  const [command, ...words] = argv;
  const general = generalQuestion(command, words);
  if (general) return general;
  if (command === undefined) throw new UsageError(`Say what to do: berth ${publicNames().join(' | ')}.`);
  const known = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (!known) {
    const kind = command.startsWith('-') ? 'flag' : 'command';
    throw new UsageError(`Unknown ${kind} "${command}": expected one of ${publicNames().join(', ')}.`);
  }
  return readFlags(command, known, words);
}

/**
 * @param {string | undefined} command
 * @param {string[]} words
 * @returns {Arguments | undefined}
 */
function generalQuestion(command, words) {
  if (command === 'help' || command === '--help' || command === '-h')
    return { command: 'help', flags: {}, rest: words };
  if (command === '--version' || command === '-v') return { command: 'version', flags: {}, rest: [] };
  if (command !== undefined && (words[0] === '--help' || words[0] === '-h')) {
    return { command: 'help', flags: {}, rest: [command] };
  }
  return undefined;
}

/**
 * @param {string} name
 * @param {Command} command
 * @param {string[]} words
 * @returns {Arguments}
 */
function readFlags(name, command, words) {
  const options = Object.fromEntries(Object.entries(command.flags).map(([flag, { type }]) => [flag, { type }]));
  const { tokens } = parseArgs({ args: words, options, strict: false, allowPositionals: true, tokens: true });
  /** @type {Arguments} */
  const result = { command: name, flags: {}, rest: [] };
  for (const token of tokens) {
    if (token.kind === 'positional') result.rest.push(acceptWord(name, command, token.value));
    if (token.kind === 'option') result.flags[token.name] = acceptFlag(name, command, token);
  }
  return result;
}

/**
 * @param {string} name
 * @param {Command} command
 * @param {string} word
 */
function acceptWord(name, command, word) {
  if (command.rest === undefined)
    throw new UsageError(`Unexpected argument "${word}": berth ${name} takes flags only.`);
  return word;
}

/**
 * @param {string} name
 * @param {Command} command
 * @param {{ name: string, rawName: string, value?: string | undefined }} token
 */
function acceptFlag(name, command, token) {
  const flag = Object.hasOwn(command.flags, token.name) ? command.flags[token.name] : undefined;
  if (!flag) {
    const takes = Object.keys(command.flags).map((known) => `--${known}`);
    throw new UsageError(`Unknown flag ${token.rawName}: berth ${name} takes ${takes.join(', ') || 'none'}.`);
  }
  if (flag.type === 'boolean' && token.value !== undefined) {
    throw new UsageError(`The flag ${token.rawName} takes no value; it came with "${token.value}".`);
  }
  if (flag.type === 'string' && !token.value) {
    throw new UsageError(`The flag ${token.rawName} needs a value: ${token.rawName} ${flag.value}.`);
  }
  return token.value ?? true;
}

function publicNames() {
  return Object.keys(commands).filter((name) => !commands[name]?.development);
}

/** The help text of one command, or of all. @param {string | undefined} name @returns {string} */
export function help(name) {
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  return command && name ? commandHelp(name, command) : overview();
}

function overview() {
  const rows = publicNames().map((name) => `  ${name.padEnd(8)} ${commands[name]?.about}`);
  return [
    'Berth gives every chat its own computer: one MCP endpoint, a private container per session.',
    '',
    'Usage: berth COMMAND [FLAGS]',
    '',
    ...rows,
    '',
    'berth COMMAND --help lists its flags. Settings: config/berth.yaml, or BERTH_… variables.',
  ].join('\n');
}

/** @param {string} name @param {Command} command */
function commandHelp(name, command) {
  const flags = Object.entries(command.flags).map(([flag, { value, about }]) => {
    return `  ${`--${flag}${value ? ` ${value}` : ''}`.padEnd(18)} ${about}`;
  });
  const rest = command.rest ? ` [${command.rest} …]` : '';
  const usage = command.usage ? `${name} ${command.usage.join(` | ${name} `)} [FLAGS]` : undefined;
  return [
    `Usage: berth ${usage ?? `${name}${flags.length ? ' [FLAGS]' : ''}${rest}`}`,
    '',
    `  ${command.about}`,
    '',
    ...flags,
  ]
    .join('\n')
    .trimEnd();
}
