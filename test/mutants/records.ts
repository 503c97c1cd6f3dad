import { breaking } from './mutant.ts';

const chain = breaking('src/sandbox/intercept/audit/chain.ts', 'test/unit/audit.test.ts');
const log = breaking('src/sandbox/intercept/audit/log.ts', 'test/unit/audit.test.ts');
const redactor = breaking('src/sandbox/intercept/recordings/redactor.ts', 'test/unit/recordings.test.ts');
const recorder = breaking('src/sandbox/intercept/recordings/recorder.ts', 'test/unit/recordings.test.ts');
const auth = breaking('src/identity/identity.ts', 'test/unit/auth.test.ts');
const response = breaking('src/api/mcp/response.ts', 'test/mcp/http.test.ts');

/** What is written down, and what must not be. */
export const records = [
  chain(
    'a changed line passes',
    'if (!match || digest(line.slice(0, match.index)) !== match[1]) return undefined;',
    'if (!match) return undefined;',
  ),
  chain(
    'a line in another’s place passes',
    'return read.prev === last.hash ? undefined :',
    'return read.prev ? undefined :',
  ),
  chain('a missing line passes', 'if (read.seq !== last.seq + 1)', 'if (read.seq <= last.seq)'),
  chain(
    'a cut beginning passes',
    'return read.seq === 1 && read.prev !== chainStart.hash',
    'return read.seq === 0 && read.prev !== chainStart.hash',
  ),
  chain(
    'escapes get into the log',
    'const body = escaped(JSON.stringify({ seq, ...fields, prev: last.hash }, clip)).slice(0, -1);',
    'const body = JSON.stringify({ seq, ...fields, prev: last.hash }, clip).slice(0, -1);',
  ),
  chain('texts of any length', 'value.length > longestText', 'value.length < 0'),
  log('everybody reads the audit log', 'openSync(file, flags, 0o600)', 'openSync(file, flags, 0o644)'),
  log('a restart begins a new chain', 'lastOf(options.file);', 'chainStart;'),
  log('lost lines are not told', 'if (this.#lost > 0) await', 'if (this.#lost < 0) await'),
  breaking('src/sandbox/intercept/audit/audit.ts', 'test/unit/audit.test.ts')(
    'the text of calls is written down',
    "args: createHash('sha256').update(text).digest('hex')",
    'args: text',
  ),
  redactor('secrets are recorded', 'clean.replaceAll(secret, redacted)', 'clean'),
  redactor(
    'secrets in pieces are recorded',
    'return Math.max(0, ...[...this.#secrets].map((secret) => overlap(text, secret)));',
    'return 0;',
  ),
  recorder(
    'each recording at the bound calls for a sweep',
    'tooMuch ? free : maxTotal - kept',
    'tooMuch ? 0 : maxTotal - kept',
  ),
  recorder('nothing is made free', 'oldest(young, kept - (maxTotal - free))', 'oldest(young, kept - maxTotal)'),
  recorder('a sweep looks at all files at the same time', 'const atOnce = 32;', 'const atOnce = 1e9;'),
  recorder('sweeps run side by side', 'this.#sweeping ??= this.#sweep()', 'this.#sweeping = this.#sweep()'),
  recorder('recordings that go on are removed', '!live.has(path)', '!live.has(`${path}?`)'),
  auth('a user’s token that nobody checks is a secret', "key.users === 'signed' && ", ''),
  auth('a user’s token that is refused is a secret', ' && principal.refusal === undefined;', ';'),
  auth(
    'a bearer that nobody checks is a secret',
    'async () => ({ principal: anonymous, secrets: [] })',
    "async (header) => ({ principal: anonymous, secrets: [bearerToken(header('authorization')) ?? ''] })",
  ),
  auth('a signed user’s token is no secret', ': [bearer, userProof]', ': [bearer]'),
  response('keys are shown', 'if (secrets.length === 0) return result;', 'return result;'),
  breaking('src/api/mcp/response.ts', 'test/mcp/tools.test.ts')(
    'escapes reach the reader',
    "const shown = result.raw ? (result.text ?? '') : readable(result.text ?? '');",
    "const shown = result.text ?? '';",
  ),
  breaking('src/log.ts', 'test/unit/log.test.ts')('tokens get into the log', "'authorization', 'token',", ''),
];
