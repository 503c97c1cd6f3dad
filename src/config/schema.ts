import { isIP } from 'node:net';
import { z } from 'zod';
import { groupRules, secret } from './identity.ts';
import {
  address,
  addressRange,
  apiKeys,
  flag,
  httpUrl,
  isHostOwnAddress,
  isPublicAddress,
  list,
  mount,
  name,
  number,
  oneOf,
  optional,
  path,
  pattern,
  required,
  seconds,
  setting,
  size,
  text,
  variables,
  whole,
} from './values.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const day = 86400;

const host = text('a host name or an address', /^[^\s/]+$/);
const hostPattern = text('a host name, with a port or a leading *. where wanted', /^(\*\.)?[^\s/*]+$|^\*$/);
const originPattern = text('an origin like https://chat.example.com', /^\*$|^[a-z][a-z0-9+.-]*:\/\/[^\s/]+$/i);
const egressHost = text(
  'a public host name, with a leading *. where wanted and without a port (ports are allow_ports)',
  (value) =>
    /^(\*|(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)$/.test(value)
      ? !/(^|\.)localhost$/i.test(value) && (isIP(value) === 0 || isPublicAddress(value))
      : isIP(value) === 6 && isPublicAddress(value),
);
const portRange = text('a port or a range like 3000-9000', /^\d{1,5}(-\d{1,5})?$/);
const privateTarget = text(
  'host:port in lower case, e.g. pypi.corp.example:443, whose host is not this one',
  (value) => {
    const [, v6, name, port] =
      /^(?:\[([0-9a-f:]+)\]|([a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?)):([1-9]\d{0,4})$/.exec(value) ?? [];
    const host = v6 ?? name ?? '';
    const isAddress = isIP(host) !== 0;
    return (
      Number(port) <= 65_535 &&
      (isAddress ? !isHostOwnAddress(host) : v6 === undefined && !/(^|\.)localhost$/.test(host))
    );
  },
);
const header = text('an HTTP header name', /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/);
const metaKey = text('a _meta key', /^[^\s]{1,200}$/);
const image = text('an image reference', /^[A-Za-z0-9][\w.\-/:@]*$/);

const server = z.strictObject({
  host: setting(host, '127.0.0.1', 'Address to listen on. Beyond loopback, `auth` must be set.'),
  port: setting(whole(0, 65535), 3000, 'Port to listen on; 0 picks a free one.'),
  public_url: optional(httpUrl, 'The address clients use, for links handed to them.', 'from the request'),
  allowed_hosts: setting(
    list(hostPattern, 'host names'),
    [],
    'Host headers accepted besides loopback names and `public_url`, e.g. `host.docker.internal:3000`; `*` accepts any.',
  ),
  allowed_origins: setting(list(originPattern, 'origins'), [], 'Browser origins accepted besides loopback ones.'),
  trusted_proxies: setting(
    list(addressRange, 'addresses or ranges'),
    [],
    'Reverse proxies, e.g. `127.0.0.1` or `172.16.0.0/12`: the client’s address is then taken from their `X-Forwarded-For`.',
  ),
  body_limit: setting(size(KiB, GiB), 8 * MiB, 'Longest request body on `/mcp`.'),
  upload_limit: setting(size(0, 1024 * GiB), 10 * GiB, 'Longest file or tar upload.'),
  keepalive: setting(
    seconds(1, 250),
    15,
    'Seconds between keepalive comments on open streams. The connections of a client that vanished end within six times as many and ten more.',
  ),
  drain: setting(seconds(0, 3600), 10, 'Seconds that calls in flight get at SIGTERM.'),
  state_dir: required(
    path,
    'Where the instance keeps its identity and state.',
    '`$XDG_STATE_HOME/berth`, else `~/.local/state/berth`',
  ),
  strict: setting(flag, false, 'Refuse to start on a host that `berth doctor` finds unsafe.'),
});

const mcp = z.strictObject({
  heartbeat: setting(
    seconds(0.1, 250),
    5,
    'Seconds without news after which a call that asked for progress tells that it goes on.',
  ),
  structured: setting(
    oneOf(['auto', 'always', 'never']),
    'auto',
    'Whether results have a structured form beside the text: `auto` leaves it out for Open WebUI and `text_clients`.',
  ),
  text_clients: setting(
    list(text('a client’s name', /^[^\p{Cc}]{1,200}$/u), 'client names'),
    ['claude-code', 'Visual Studio Code'],
    'Clients, as they name themselves, that show the structured form in the text’s place: they get the text alone.',
  ),
});

const auth = z.strictObject({
  mode: optional(
    oneOf(['none', 'keys']),
    '`none` lets everybody in as one principal; `keys` asks for a bearer key.',
    '`keys` with keys (of the settings, or made by `berth key create`), else `none` on loopback',
  ),
  keys: setting(
    apiKeys,
    [],
    'API keys: `{name, key or sha256, templates?, users?}`; in a variable `name=key,name2=key`. Only hashes are kept. `users: headers` or `users: signed`: the key’s owner serves many users and names each, see `open_webui`.',
  ),
  groups: setting(
    groupRules,
    {},
    'What users get by the groups they are in: `{analysts: {templates: [data], sandboxes: 3}}`; `*` is for the others.',
  ),
});

const openWebUi = z.strictObject({
  url: optional(
    httpUrl,
    'Open WebUI as this server reaches it: calls with a user’s own token may then read the chat’s attachments.',
  ),
  progress: setting(
    flag,
    false,
    'Show the progress of long calls in the chat, with `url`, a user’s own token, and `message_header`.',
  ),
  message_header: setting(header, 'X-OpenWebUI-Message-Id', 'Header that names the message being written.'),
  chat_header: setting(header, 'X-OpenWebUI-Chat-Id', 'Header that names the chat, for `url`.'),
  jwt_secret: optional(secret, 'Open WebUI’s `FORWARD_USER_INFO_HEADER_JWT_SECRET`, for keys with `users: signed`.'),
  session_secret: optional(
    secret,
    'Open WebUI’s `WEBUI_SECRET_KEY`: lets in users’ own tokens (connections of auth type `session`).',
  ),
  user_header: setting(header, 'X-OpenWebUI-User-Id', 'Header that names the user to keys with `users: headers`.'),
  jwt_header: setting(header, 'X-OpenWebUI-User-Jwt', 'Header with the signed user for keys with `users: signed`.'),
  groups_header: setting(header, 'X-OpenWebUI-User-Groups', 'Header with the user’s groups, separated by commas.'),
  unsigned_groups: setting(
    flag,
    false,
    'Believe `groups_header` with `users: signed`, too; the signature does not cover it.',
  ),
  reply_timeout: setting(
    seconds(0, day),
    7200,
    'Idle seconds for which a signed user that was good at first stays good: a reply may outlast the token.',
  ),
});

const openTerminal = z.strictObject({
  enabled: setting(flag, true, 'Serve Open WebUI’s panes (files, shell, commands) at `/open-terminal`.'),
  tools: setting(
    oneOf(['native', 'minimal', 'none']),
    'minimal',
    'Tools the panes’ connection gives to the model: `native` is a whole set, `minimal` only shows files and uses the user’s shell, for a chat that has the MCP connection, too; `none` is the least that Open WebUI takes.',
  ),
});

const oidc = z.strictObject({
  issuer: optional(httpUrl, 'Lets in access tokens of this OpenID Connect issuer.'),
  audience: optional(text('an audience', /\S/), 'What `aud` of a token must name; needed with `issuer`.'),
  jwks_url: optional(httpUrl, 'The issuer’s public keys.', 'from its discovery document'),
  user_claim: setting(text('a claim’s name', /^\S+$/), 'sub', 'Claim that names the user.'),
  groups_claim: setting(text('a claim’s name', /^\S+$/), 'groups', 'Claim that lists the user’s groups.'),
});

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const logging = z.strictObject({
  level: setting(oneOf(levels, { warning: 'warn', critical: 'fatal' }), 'info', 'Least level to log.'),
  format: setting(oneOf(['json', 'pretty'], { console: 'pretty' }), 'json', '`pretty` is for a person at a terminal.'),
});

const session = z.strictObject({
  timeout: setting(seconds(1), 3600, 'Idle seconds after which a sandbox stops; its workspace stays.'),
  remove_after: setting(
    seconds(0),
    day,
    'Seconds that a stopped sandbox’s container is kept, which makes its wake quicker, for `max_sessions` of them at most; 0 = not at all.',
  ),
  keep_shell: setting(
    flag,
    true,
    'Lets the shell of a stopped sandbox go on with its directory, variables and functions when it wakes; they are kept in `server.state_dir`.',
  ),
  max_sessions: setting(whole(1, 100_000), 100, 'Most sandboxes running at once.'),
  cleanup_interval: setting(seconds(1, day), 300, 'Seconds between sweeps for idle and orphaned sandboxes.'),
  template: setting(name, 'data', 'Template of a sandbox nobody chose one for.'),
  scope: setting(
    oneOf(['auto', 'conversation', 'session', 'principal']),
    'auto',
    'What a sandbox belongs to: `auto` takes the conversation where a client names one, else the MCP session, else the principal.',
  ),
  ttl: setting(seconds(1), day, 'Idle seconds after which an MCP session is forgotten.'),
  max_mcp_sessions: setting(whole(1, 1_000_000), 1000, 'Most MCP sessions at once.'),
  orphan_after: setting(seconds(60), day, 'Seconds without a server after which a sandbox ends by itself.'),
  conversation_headers: setting(
    list(header, 'header names'),
    ['X-OpenWebUI-Chat-Id', 'X-LibreChat-Conversation-Id'],
    "Headers that name the conversation, always within the caller's own principal.",
  ),
  conversation_meta: setting(
    list(metaKey, '_meta keys'),
    ['vscode.conversationId', 'openai/session'],
    '`_meta` keys that name the conversation.',
  ),
});

const shell = z.strictObject({
  default_shell: setting(path, '/bin/bash', 'Shell of a sandbox; an image without it gets a static bash.'),
  host: setting(
    oneOf(['auto', 'off']),
    'auto',
    'Where commands are run: by the session host in the sandbox, or where it can’t run over plain execs of the engine (`sandbox_status` says what is missing then); `off` takes plain execs everywhere.',
  ),
  timeout: setting(seconds(0.1), 120, 'Seconds a command may run unless the call says otherwise.'),
  max_timeout: setting(seconds(0.1), 3600, 'Most seconds a call may ask for.'),
  wait: setting(
    seconds(0),
    0,
    'Seconds after which `execute_command` returns while the command goes on, unless the call says otherwise; 0: at its end.',
  ),
  output_head: setting(size(0, 16 * MiB), 16 * KiB, 'Bytes shown from the start of a long output, per stream.'),
  output_tail: setting(size(0, 16 * MiB), 32 * KiB, 'Bytes shown from its end, per stream.'),
  window: setting(size(64 * KiB, 64 * MiB), MiB, 'Bytes of each stream kept for `check_command`.'),
  history: setting(whole(1, 1000), 32, 'Finished commands a sandbox remembers.'),
  history_memory: setting(
    size(4 * MiB, 1024 ** 4),
    64 * MiB,
    'Memory for the output of finished commands of all sandboxes; beyond it the longest idle sandbox gives up its own.',
  ),
  queue: setting(whole(0, 1000), 32, "Commands that may wait for a sandbox's shell."),
});

const terminal = z.strictObject({
  max: setting(whole(0, 256), 8, 'Open terminals per sandbox.'),
  scrollback: setting(whole(0, 100_000), 1000, 'Lines kept above the screen.'),
  buffer: setting(size(64 * KiB, 64 * MiB), MiB, 'Bytes kept for the next streaming read.'),
  cols: setting(whole(1, 1000), 80, 'Columns unless the call says otherwise.'),
  rows: setting(whole(1, 500), 24, 'Rows unless the call says otherwise.'),
  watchers: setting(whole(1, 1000), 16, 'Live viewers per terminal.'),
});

const docker = z.strictObject({
  host: optional(
    address('an engine address like unix:///var/run/docker.sock', /^(unix|tcp|http|https|ssh|npipe):\/\/\S+$/),
    'Engine address.',
    '`DOCKER_HOST`, the current docker context, or the default socket',
  ),
  max_parallel_starts: setting(whole(1, 256), 8, 'Containers started at the same time.'),
  call_timeout: setting(seconds(1, 600), 30, 'Seconds an engine call may take.'),
  host_image: setting(image, 'berth/session-host:latest', 'Image that carries the session host.'),
});

const guard = z.strictObject({
  socket: setting(path, '/run/berth/guard.sock', 'Where `berth guard` listens; `docker.host` of the server names it.'),
  engine: setting(path, '/var/run/docker.sock', 'Socket of the engine that it guards.'),
  user: optional(whole(), 'Numeric owner of its socket (mode 0660).', "the guard's own user"),
  group: optional(whole(), 'Numeric group of its socket.', "the guard's own group"),
});

/** One kind of sandbox, named by the operator. */
export const template = z.strictObject({
  image: required(image, 'Image; a digest pins it.'),
  memory: setting(size(16 * MiB), GiB, 'Memory limit; swap is never added.'),
  cpus: setting(number(0.01, 1024), 1, 'CPUs.'),
  pids: setting(whole(16, 100_000), 256, 'Most processes and threads.'),
  tmp: setting(size(MiB), 256 * MiB, 'Size of `/tmp`; counts as memory.'),
  shm: setting(size(MiB), 16 * MiB, 'Size of `/dev/shm`, e.g. for data loaders and browsers; counts as memory.'),
  disk: setting(
    size(16 * MiB),
    2 * GiB,
    'Size of the workspace, from its creation on; `workspace.quota` says how it is kept.',
  ),
  previews: setting(flag, true, 'Let its ports be visited (`share_port`).'),
  nofile: setting(whole(64, 1_048_576), 1024, 'Open files per process.'),
  network: setting(
    oneOf(['none', 'allow-list', 'open']),
    'none',
    '`allow-list` lets HTTP and HTTPS out to `allow_hosts`, through a proxy; `open` lets everything out but to this host, its networks and other sandboxes.',
  ),
  allow_hosts: setting(
    list(egressHost, 'public host names without a port (ports are `allow_ports`)'),
    [],
    'With `allow-list`: hosts that may be reached; `*.example.org` is every name below it, `*` every public host.',
  ),
  allow_private: setting(
    list(privateTarget, 'targets as host:port in lower case, none of them this host'),
    [],
    'With `allow-list`: targets as `host:port` that may be reached though their addresses are private, e.g. `pypi.corp.example:443`; never this host’s own or a cloud’s metadata.',
  ),
  allow_ports: setting(list(whole(1, 65535), 'ports'), [80, 443], 'With `allow-list`: ports that may be reached.'),
  allow_bytes: setting(size(1), 10 * GiB, 'With `allow-list`: bytes that one container may exchange in all.'),
  network_open_unprotected: setting(
    flag,
    false,
    'With `open`: start sandboxes even where this host, its networks and other sandboxes cannot be kept from them.',
  ),
  env: setting(variables, {}, 'Environment variables.'),
  mounts: setting(list(mount, 'source:target[:rw]'), [], 'Named volumes or host directories, read-only unless `:rw`.'),
  warm: setting(whole(0, 1000), 0, 'Sandboxes kept ready, so that a first command waits for none.'),
  runtime: optional(text('an OCI runtime name', /^[\w.-]+$/), 'OCI runtime, e.g. `runsc`.', "the engine's"),
  seccomp: optional(
    text('an absolute path or "engine"', /^(\/.*|engine)$/),
    "Seccomp profile; `engine` takes the engine's own.",
    'the built-in profile',
  ),
});

const workspace = z.strictObject({
  quota: setting(
    oneOf(['auto', 'project', 'loop', 'tmpfs', 'watch', 'none']),
    'auto',
    'What keeps a workspace within `disk`: `project` quotas of the engine’s file system, an ext4 image on a `loop` device (as root on the engine’s host), `watch` (too big a sandbox is stopped), memory (`tmpfs`: gone with the container). `auto` takes the first that works of project, loop, watch.',
  ),
  reserve: setting(size(), GiB, 'Bytes that stay free on the host: below it no sandbox is started.'),
  watch_interval: setting(seconds(1, day), 30, 'With `watch`: seconds between two looks at the workspaces.'),
  retention: setting(number(0, 36_500), 30, 'Days to keep an unused workspace; 0 keeps it for ever.'),
});

const tools = z.strictObject({
  enabled: setting(
    list(text('a tool name', /^[a-z_]{1,64}$/), 'tool names'),
    [],
    'Tools to offer; an empty list offers all.',
  ),
});

const security = z.strictObject({
  enabled: setting(flag, false, 'Check commands against the two lists below. A guard rail, not a boundary.'),
  allowed_executables: setting(
    list(text('a command name', /^[^\s/]+$/), 'command names'),
    [],
    'Commands a script may name; an empty list allows all.',
  ),
  blocked_patterns: setting(
    list(pattern, 'RE2 regular expressions'),
    [],
    'Scripts and commands matching one of these are refused.',
  ),
  max_execution_time: optional(seconds(1), 'With `enabled`: caps `shell.timeout` and `shell.max_timeout`.', '–'),
  max_output_size: optional(size(1024), 'With `enabled`: caps `shell.output_head` + `shell.output_tail`.', '–'),
  working_directory: setting(
    text('a directory under /workspace', /^\/workspace(\/(?!\.\.?(\/|$))[^/]+)*\/?$/),
    '/workspace',
    'Where the shell starts; made when missing.',
  ),
  audit_log: setting(flag, false, 'Write the audit log, to `audit.file`.'),
});

const audit = z.strictObject({
  file: optional(path, 'Audit log; setting it turns the log on.', '`audit.jsonl` in `server.state_dir`'),
  stdout: setting(flag, false, 'Write audit lines to standard output, too.'),
  max_size: setting(size(64 * KiB), 64 * MiB, 'Size at which the file is rotated.'),
  keep: setting(whole(1, 10_000), 10, 'Rotated files to keep.'),
});

const recordings = z.strictObject({
  enabled: setting(flag, false, 'Record commands and terminals as asciicast v2 files: all that they show is in them.'),
  dir: optional(path, 'Where recordings are kept.', '`recordings` in `server.state_dir`'),
  retention: setting(number(0, 36_500), 30, 'Days to keep a recording; 0 keeps it for ever.'),
  max_size: setting(size(64 * KiB), 16 * MiB, 'Bytes of one recording; what comes after them is not recorded.'),
  max_total: setting(size(MiB), 10 * GiB, 'Bytes of all recordings together; the oldest go first.'),
});

const limits = z.strictObject({
  sandboxes: setting(whole(), 0, 'Sandboxes per principal; 0 leaves only `session.max_sessions`.'),
  commands: setting(whole(), 0, 'Running commands per principal; 0 = no limit.'),
  terminals: setting(whole(), 0, 'Open terminals per principal; 0 = no limit.'),
  memory: setting(size(), 0, "Memory of a principal's running sandboxes together; 0 = no limit."),
  requests_per_minute: setting(
    whole(),
    0,
    'Requests per principal and minute, without keys per client’s address; 0 = no limit.',
  ),
  upload_bytes_per_hour: setting(size(), 0, 'Uploaded bytes per principal and hour; 0 = no limit.'),
  cpu_minutes_per_hour: setting(
    number(0, 1_000_000),
    0,
    'CPU minutes per principal and hour, beyond which no command begins and what goes on is stopped; 0 = no limit.',
  ),
  total_commands: setting(whole(), 0, 'Running commands of all together; 0 = no limit.'),
  total_terminals: setting(whole(), 0, 'Open terminals of all together; 0 = no limit.'),
  total_memory: setting(size(), 0, 'Memory of all running sandboxes together; 0 = no limit.'),
  total_requests_per_minute: setting(whole(), 0, 'Requests of all together per minute; 0 = no limit.'),
  total_upload_bytes_per_hour: setting(size(), 0, 'Uploaded bytes of all together per hour; 0 = no limit.'),
  total_cpu_minutes_per_hour: setting(number(0, 1_000_000), 0, 'CPU minutes of all together per hour; 0 = no limit.'),
  queue: setting(
    whole(0, 100_000),
    1000,
    'First calls that may wait for a sandbox, served one principal after another.',
  ),
  queue_wait: setting(
    seconds(0, day),
    60,
    'Seconds a first call waits while all places are taken, before it is refused.',
  ),
  host_memory_start: setting(
    size(),
    512 * MiB,
    'No sandbox starts with less memory free on the engine’s host; 0 = off.',
  ),
  host_memory_idle: setting(
    size(),
    256 * MiB,
    'With less memory free, the sandboxes that have been idle for longest (a minute at least) are idled out; 0 = off.',
  ),
});

const previews = z.strictObject({
  enabled: setting(flag, true, 'Let what listens in a sandbox be visited (`share_port`).'),
  domain: optional(
    host,
    'Domain whose subdomains lead here, e.g. `previews.example.com` with a wildcard record and certificate: each preview gets an origin of its own.',
    'on loopback `localhost`, else a path of this server',
  ),
  ports: setting(
    list(portRange, 'ports or ranges of ports'),
    ['1-65535'],
    'Ports that may be shared, e.g. `3000-9000`.',
  ),
  max_expires: setting(seconds(60), 7 * day, 'Most seconds a preview may last.'),
  connections: setting(whole(), 256, 'Open requests and sockets of the previews of one sandbox; 0 = no limit.'),
  principal_connections: setting(whole(), 512, 'The same of all sandboxes of one principal; 0 = no limit.'),
  bytes_per_hour: setting(size(), 0, 'Bytes that previews of one principal move per hour; 0 = no limit.'),
  headers_timeout: setting(seconds(1, day), 60, 'Seconds a program has for the headers of its answer.'),
  idle_timeout: setting(seconds(1, day), 3600, 'Seconds after which a silent connection to a program is ended.'),
});

/** Every setting, with its default, description and check. */
export const schema = z.strictObject({
  server: server.prefault({} as never),
  mcp: mcp.prefault({}),
  auth: auth.prefault({}),
  open_webui: openWebUi.prefault({}),
  open_terminal: openTerminal.prefault({}),
  oidc: oidc.prefault({}),
  logging: logging.prefault({}),
  session: session.prefault({}),
  shell: shell.prefault({}),
  terminal: terminal.prefault({}),
  docker: docker.prefault({}),
  guard: guard.prefault({}),
  templates: z.record(z.string(), template).prefault({}),
  workspace: workspace.prefault({}),
  tools: tools.prefault({}),
  security: security.prefault({}),
  audit: audit.prefault({}),
  recordings: recordings.prefault({}),
  limits: limits.prefault({}),
  previews: previews.prefault({}),
});

export type Settings = z.infer<typeof schema>;
export type Template = z.infer<typeof template>;

/** The templates that exist unless the operator takes them away with `false`. */
export const builtInTemplates = {
  data: { image: 'berth/data:latest' },
  base: { image: 'berth/base:latest' },
} as const;

/** Keys of MCP Persistent Shell that mean nothing here: accepted, and named in a note. */
export const inertKeys: ReadonlySet<string> = new Set([
  'server.name',
  'server.version',
  'shell.prompt_marker',
  'security.run_as_user',
]);
