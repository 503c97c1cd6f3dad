import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError, describeConfig, loadConfig, settleAuth, type Config, type Override } from '../../src/config.ts';
import { settingRows } from '../../src/config/tree.ts';
import { generate, settingsTable, withSections } from '../../src/setup/readme.ts';

const home = { HOME: '/home/ann' };
type Env = Record<string, string | undefined>;

function load(env: Env = {}, files: Record<string, string> = {}, overrides: readonly Override[] = []) {
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    return text;
  };
  return loadConfig({
    env: { ...home, ...env },
    overrides,
    readFile,
    ...('berth.yaml' in files && { file: 'berth.yaml' }),
  });
}

const yaml = (text: string): Config => load({}, { 'berth.yaml': text }).config;

function complaint(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof ConfigError, String((error as Error).stack));
    return error.message;
  }
  return 'no complaint';
}

describe('defaults', () => {
  it('listen on loopback, without auth, with two templates', () => {
    const { config, notes } = load();
    assert.equal(config.server.host, '127.0.0.1');
    assert.equal(config.server.port, 3000);
    assert.equal(config.auth.mode, 'none');
    assert.deepEqual(Object.keys(config.templates), ['data', 'base']);
    assert.deepEqual(config.templates['data'], {
      image: 'berth/data:latest',
      memory: 1073741824,
      cpus: 1,
      pids: 256,
      tmp: 268435456,
      shm: 16777216,
      disk: 2 * 1024 ** 3,
      previews: true,
      nofile: 1024,
      network: 'none',
      allow_hosts: [],
      allow_private: [],
      allow_ports: [80, 443],
      allow_bytes: 10 * 1024 ** 3,
      network_open_unprotected: false,
      env: {},
      mounts: [],
      warm: 0,
    });
    assert.deepEqual(config.session.timeout, 3600);
    assert.deepEqual(config.session.max_sessions, 100);
    assert.deepEqual(config.session.cleanup_interval, 300);
    assert.deepEqual(notes, []);
  });

  it('keep state under XDG_STATE_HOME, else under the home directory', () => {
    assert.equal(load().config.server.state_dir, '/home/ann/.local/state/berth');
    assert.equal(load({ XDG_STATE_HOME: '/xdg' }).config.server.state_dir, '/xdg/berth');
    assert.equal(loadConfig({ env: {} }).config.server.state_dir, '/var/lib/.local/state/berth');
  });
});

describe('precedence', () => {
  const files = {
    'berth.yaml': 'server:\n  port: 1\n  drain: 1\n',
    'security.yaml': 'server:\n  port: 5\n  keepalive: 9\n',
  };
  const env = {
    BERTH_SERVER__PORT: '2',
    MCP_SHELL_SERVER__PORT: '3',
    MCP_SHELL_SERVER__STRICT: 'yes',
    MCP_SHELL_SECURITY_CONFIG_FILE: 'security.yaml',
  };

  it('is flag, BERTH_, MCP_SHELL_, file, security file, default', () => {
    const { config, sources } = load(env, files, [{ key: 'server.port', value: '4', flag: '--port' }]);
    assert.equal(config.server.port, 4);
    assert.equal(config.server.strict, true);
    assert.equal(config.server.drain, 1);
    assert.equal(config.server.keepalive, 9);
    assert.deepEqual(sources.get('server.port'), { kind: 'flag', name: '--port' });
    assert.deepEqual(sources.get('server.strict'), { kind: 'env', name: 'MCP_SHELL_SERVER__STRICT' });
    assert.deepEqual(sources.get('server.drain'), { kind: 'file', name: 'berth.yaml' });
    assert.deepEqual(sources.get('server.keepalive'), { kind: 'file', name: 'security.yaml' });
    assert.equal(sources.get('server.host'), undefined);
    assert.equal(load(env, files).config.server.port, 2);
    assert.equal(load({ ...env, BERTH_SERVER__PORT: undefined }, files).config.server.port, 3);
    assert.equal(load({}, files).config.server.port, 1);
  });

  it('counts an empty variable as absent', () => {
    assert.equal(
      load({ BERTH_SERVER__PORT: '', MCP_SHELL_SERVER__PORT: '8', BERTH_CONFIG_FILE: '' }).config.server.port,
      8,
    );
  });

  it('takes the file from either variable, --config first', () => {
    const both = { 'a.yaml': 'server: {port: 11}', 'b.yaml': 'server: {port: 12}' };
    assert.equal(load({ BERTH_CONFIG_FILE: 'a.yaml', MCP_SHELL_CONFIG_FILE: 'b.yaml' }, both).config.server.port, 11);
    assert.equal(load({ MCP_SHELL_CONFIG_FILE: 'b.yaml' }, both).config.server.port, 12);
    assert.equal(
      load({ BERTH_CONFIG_FILE: 'a.yaml' }, { ...both, 'berth.yaml': 'server: {port: 13}' }).config.server.port,
      13,
    );
  });
});

describe('values', () => {
  const sizes = [
    ['1024', 1024], ['1k', 1024], ['1KiB', 1024], ['1kB', 1000], ['64m', 67108864], ['512MiB', 536870912],
    ['1.5GiB', 1610612736], ['2GB', 2000000000], [' 4096 ', 4096], ['8192B', 8192],
  ] as const; // prettier-ignore
  for (const [text, bytes] of sizes) {
    it(`reads ${text} as ${bytes} bytes`, () =>
      assert.equal(
        load({ BERTH_AUDIT__MAX_SIZE: '64KiB', BERTH_SERVER__UPLOAD_LIMIT: text }).config.server.upload_limit,
        bytes,
      ));
  }

  const durations = [
    ['90', 90],
    ['90s', 90],
    ['15m', 900],
    ['2h', 7200],
    ['1d', 86400],
    ['1.5h', 5400],
    ['1500ms', 1.5],
  ] as const;
  for (const [text, seconds] of durations) {
    it(`reads ${text} as ${seconds} seconds`, () =>
      assert.equal(load({ BERTH_SESSION__TTL: text }).config.session.ttl, seconds));
  }

  it('reads lists from commas or JSON', () => {
    assert.deepEqual(load({ BERTH_SERVER__ALLOWED_HOSTS: 'a:1, b.c' }).config.server.allowed_hosts, ['a:1', 'b.c']);
    assert.deepEqual(load({ BERTH_SERVER__ALLOWED_HOSTS: '["a","b"]' }).config.server.allowed_hosts, ['a', 'b']);
    assert.deepEqual(yaml('server: {allowed_hosts: [a, b]}').server.allowed_hosts, ['a', 'b']);
  });

  it('keeps of an API key only its hash', () => {
    const sha256 = 'c47ffe24f5ee6dd72a7e94f3aecd4a0bd1b5fdd11e8ac1aef2c5b0ee5a6a1ff5';
    const { auth } = yaml(
      `auth:\n  keys:\n    - {name: ann, key: correct horse battery, templates: [data]}\n    - {name: bob, sha256: ${sha256}}`,
    );
    assert.equal(auth.mode, 'keys');
    assert.deepEqual(auth.keys, [
      { name: 'ann', sha256: '9028ea0d15decaa35b2da21c0290af3b1a5ba0a30a591906f89b5074e209ea72', templates: ['data'] },
      { name: 'bob', sha256 },
    ]);
    const fromEnv = load({ BERTH_AUTH__KEYS: 'ann=correct horse battery,eve=a=b=c=d=e=f=g=h=i' }).config.auth.keys;
    assert.deepEqual(
      fromEnv.map((key) => key.name),
      ['ann', 'eve'],
    );
    assert.equal(fromEnv[0]?.sha256, auth.keys[0]?.sha256);
  });

  it('reads mounts, read-only unless written out', () => {
    const text =
      'templates: {data: {mounts: ["/srv/d:/data", "vol:/v:rw", {source: /a, target: /b, read_only: false}]}}';
    assert.deepEqual(yaml(text).templates['data']?.mounts, [
      { source: '/srv/d', target: '/data', readOnly: true },
      { source: 'vol', target: '/v', readOnly: false },
      { source: '/a', target: '/b', readOnly: false },
    ]);
  });

  it('reads a template’s variables from a mapping or a variable', () => {
    assert.deepEqual(yaml('templates: {data: {env: {A: 1, B: "x=y"}}}').templates['data']?.env, { A: '1', B: 'x=y' });
    assert.deepEqual(load({ BERTH_TEMPLATES__DATA__ENV: 'A=1,B=x=y' }).config.templates['data']?.env, {
      A: '1',
      B: 'x=y',
    });
  });

  it('adds templates, changes one built-in, and takes one away', () => {
    const { templates } = yaml(
      'session: {template: gpu}\ntemplates:\n  gpu: {image: "x/y@sha256:00"}\n  data: {memory: 2g}\n  base: false\n',
    );
    assert.deepEqual(Object.keys(templates).toSorted(), ['data', 'gpu']);
    assert.equal(templates['data']?.memory, 2147483648);
    assert.equal(templates['data']?.image, 'berth/data:latest');
    assert.deepEqual(Object.keys(load({ BERTH_TEMPLATES__BASE: 'false' }).config.templates), ['data']);
  });

  it('treats a group whose lines are all commented out as empty', () => {
    assert.equal(yaml('server:\n  # port: 1\ntemplates:\n  data:\n').templates['data']?.image, 'berth/data:latest');
    assert.equal(yaml('').server.port, 3000);
  });
});

describe('a deployment of MCP Persistent Shell', () => {
  it('moves over with its variables and its policy file', () => {
    const env = {
      MCP_SHELL_SERVER__NAME: 'mcp-persistent-shell',
      MCP_SHELL_SERVER__VERSION: '0.1.0',
      MCP_SHELL_SERVER__HOST: '127.0.0.1',
      MCP_SHELL_CONFIG_FILE: 'policy.yaml',
      MCP_SHELL_LOGGING__LEVEL: 'warning',
      MCP_SHELL_LOGGING__FORMAT: 'console',
      MCP_SHELL_SHELL__PROMPT_MARKER: '__MCP__',
      MCP_SHELL_SESSION__TIMEOUT: '1800',
    };
    const policy = `
security:
  enabled: true
  allowed_executables: [ls, cat]
  blocked_patterns: ['rm\\s+.*-rf.*', ':\\(\\)\\{.*\\};:']
  max_execution_time: 30
  max_output_size: 3000
  working_directory: /workspace
  run_as_user: ""
  audit_log: true
session: {timeout: 3600, max_sessions: 100, cleanup_interval: 300}
server: {name: mcp-persistent-shell, port: 3000}
`;
    const { config, notes } = load(env, { 'policy.yaml': policy });
    assert.deepEqual(config.security.allowed_executables, ['ls', 'cat']);
    assert.equal(config.session.timeout, 1800);
    assert.equal(config.logging.level, 'warn');
    assert.equal(config.logging.format, 'pretty');
    assert.deepEqual([config.shell.timeout, config.shell.max_timeout], [30, 30]);
    assert.deepEqual([config.shell.output_head, config.shell.output_tail], [1000, 2000]);
    assert.equal(config.audit.enabled, true);
    assert.equal(config.audit.file, '/home/ann/.local/state/berth/audit.jsonl');
    assert.deepEqual(notes, [
      'policy.yaml: server.name is a setting of MCP Persistent Shell without a meaning here; it is ignored.',
      'MCP_SHELL_SERVER__NAME is a setting of MCP Persistent Shell without a meaning here; it is ignored.',
      'MCP_SHELL_SERVER__VERSION is a setting of MCP Persistent Shell without a meaning here; it is ignored.',
      'MCP_SHELL_SHELL__PROMPT_MARKER is a setting of MCP Persistent Shell without a meaning here; it is ignored.',
    ]);
  });

  it('leaves the shell’s limits alone while its policy is off', () => {
    const { shell } = load({ MCP_SHELL_SECURITY__MAX_EXECUTION_TIME: '30' }).config;
    assert.deepEqual([shell.timeout, shell.max_timeout], [120, 3600]);
  });
});

describe('who may come in', () => {
  const settled = (env: Record<string, string>, stored: boolean) => settleAuth(load(env).config, stored).auth.mode;
  const key = { BERTH_AUTH__KEYS: 'ann=ann-key-0123456789' };
  const outside = { BERTH_SERVER__HOST: '0.0.0.0' };

  it('asks for keys wherever there are any, in the settings or in the state', () => {
    assert.equal(settled({}, false), 'none');
    assert.equal(settled({}, true), 'keys');
    assert.equal(settled(key, false), 'keys');
    assert.equal(settled(outside, true), 'keys');
    assert.equal(settled({ BERTH_AUTH__MODE: 'keys' }, true), 'keys');
    assert.equal(settled({ ...outside, BERTH_AUTH__MODE: 'none' }, true), 'none');
  });

  it('refuses to start where nobody could come in, or everybody from outside', () => {
    assert.throws(() => settled({ BERTH_AUTH__MODE: 'keys' }, false), {
      name: 'ConfigError',
      message: 'auth.mode: expected at least one key, got none; make one with "berth key create NAME"',
    });
    assert.throws(() => settled(outside, false), {
      name: 'ConfigError',
      message:
        'server.host: expected keys beyond loopback (or auth.mode: none, written out), got "0.0.0.0" without keys; make one with "berth key create NAME"',
    });
  });
});

describe('bad settings', () => {
  const fromEnv: readonly (readonly [string, string, string])[] = [
    ['BERTH_SERVER__PORT', 'abc', 'BERTH_SERVER__PORT: expected a whole number from 0 to 65535, got "abc"'],
    ['BERTH_SERVER__PORT', '1.5', 'BERTH_SERVER__PORT: expected a whole number from 0 to 65535, got "1.5"'],
    ['BERTH_SERVER__PORT', '0x50', 'BERTH_SERVER__PORT: expected a whole number from 0 to 65535, got "0x50"'],
    ['MCP_SHELL_SERVER__PORT', '70000', 'MCP_SHELL_SERVER__PORT: expected a whole number from 0 to 65535, got "70000"'],
    ['BERTH_SERVER__PRT', '1', 'BERTH_SERVER__PRT: no such setting; did you mean BERTH_SERVER__PORT?'],
    ['BERTH_PORT', '1', 'BERTH_PORT: no such setting; did you mean BERTH_SERVER__PORT?'],
    ['BERTH_SERVER_PORT', '1', 'BERTH_SERVER_PORT: no such setting; did you mean BERTH_SERVER__PORT?'],
    ['BERTH_SERVER_STATE_DIR', '/x', 'BERTH_SERVER_STATE_DIR: no such setting; did you mean BERTH_SERVER__STATE_DIR?'],
    ['BERTH_NONSENSE__AT_ALL', '1', 'BERTH_NONSENSE__AT_ALL: no such setting'],
    ['BERTH_SERVER', '1', 'BERTH_SERVER: expected a mapping of settings, got "1"'],
    ['BERTH_SERVER__', '1', 'BERTH_SERVER__: no such setting'],
    ['BERTH___PROTO____X', '1', 'BERTH___PROTO____X: no such setting'],
    ['BERTH_SERVER__STRICT', 'maybe', 'BERTH_SERVER__STRICT: expected true or false, got "maybe"'],
    ['BERTH_SERVER__PUBLIC_URL', 'ftp://x', 'BERTH_SERVER__PUBLIC_URL: expected an http or https URL, got "ftp://x"'],
    ['BERTH_SERVER__STATE_DIR', 'state', 'BERTH_SERVER__STATE_DIR: expected an absolute path, got "state"'],
    [
      'BERTH_LOGGING__LEVEL',
      'loud',
      'BERTH_LOGGING__LEVEL: expected one of trace, debug, info, warn, error, fatal, silent, got "loud"',
    ],
    [
      'BERTH_SESSION__TIMEOUT',
      '-1',
      'BERTH_SESSION__TIMEOUT: expected seconds (or 90s, 15m, 2h, 1d) from 1 to 2073600, got "-1"',
    ],
    [
      'BERTH_SERVER__BODY_LIMIT',
      '1 potato',
      'BERTH_SERVER__BODY_LIMIT: expected a size in bytes (or 512KiB, 64MiB, 2GiB) from 1KiB to 1GiB, got "1 potato"',
    ],
    [
      'BERTH_SESSION__TEMPLATE',
      'gpu',
      'BERTH_SESSION__TEMPLATE: expected one of the templates (data, base), got "gpu"',
    ],
    ['BERTH_SHELL__TIMEOUT', '2h', 'BERTH_SHELL__TIMEOUT: expected at most shell.max_timeout (3600 seconds), got 7200'],
    [
      'BERTH_SECURITY__BLOCKED_PATTERNS',
      'a(',
      'BERTH_SECURITY__BLOCKED_PATTERNS: expected a list of RE2 regular expressions, got "a(" as item 1',
    ],
    [
      'BERTH_SECURITY__WORKING_DIRECTORY',
      '/workspace/../etc',
      'BERTH_SECURITY__WORKING_DIRECTORY: expected a directory under /workspace, got "/workspace/../etc"',
    ],
    [
      'BERTH_TEMPLATES__DATA__MOUNTS',
      '/x:/workspace',
      'BERTH_TEMPLATES__DATA__MOUNTS: expected a list of source:target[:rw]; "/workspace" is reserved',
    ],
    [
      'BERTH_TEMPLATES__DATA__MOUNTS',
      '/x:/proc/1',
      'BERTH_TEMPLATES__DATA__MOUNTS: expected a list of source:target[:rw]; "/proc/1" is reserved',
    ],
    [
      'BERTH_TEMPLATES__DATA__NETWORK',
      'host',
      'BERTH_TEMPLATES__DATA__NETWORK: expected one of none, allow-list, open, got "host"',
    ],
    [
      'BERTH_TEMPLATES__DATA__MEMRY',
      '1g',
      'BERTH_TEMPLATES__DATA__MEMRY: no such setting; did you mean BERTH_TEMPLATES__DATA__MEMORY?',
    ],
    [
      'BERTH_TEMPLATES__GPU__MEMORY',
      '1g',
      'BERTH_TEMPLATES__GPU__MEMORY: expected templates.gpu.image beside it, as templates.gpu is no built-in template',
    ],
    ['BERTH_CONFIG_FILE', '/no/such.yaml', 'BERTH_CONFIG_FILE: expected a readable file, got "/no/such.yaml" (ENOENT)'],
    [
      'BERTH_LOGGING__LEVEL',
      'a\nb\u001b[31m',
      'BERTH_LOGGING__LEVEL: expected one of trace, debug, info, warn, error, fatal, silent, got "a\\nb\\u001b[31m"',
    ],
  ];
  for (const [name, value, said] of fromEnv) {
    it(`${name}=${JSON.stringify(value)}`, () =>
      assert.equal(
        complaint(() => load({ [name]: value })),
        said,
      ));
  }

  const fromFile: readonly (readonly [string, string])[] = [
    ['server:\n  port: abc', 'berth.yaml: server.port: expected a whole number from 0 to 65535, got "abc"'],
    ['server:\n  port: [1]', 'berth.yaml: server.port: expected a whole number from 0 to 65535, got a list'],
    ['server: 3', 'berth.yaml: server: expected a mapping of settings, got 3'],
    ['- a', 'berth.yaml: expected a mapping of settings, got a list'],
    ['server:\n  prot: 1', 'berth.yaml: server.prot: no such setting; did you mean server.port?'],
    ['sever:\n  port: 1', 'berth.yaml: sever: no such setting'],
    ['"a\\nb": 1', 'berth.yaml: a\\nb: no such setting'],
    ['__proto__: {x: 1}', 'berth.yaml: __proto__: no such setting'],
    ['server: {port: 1, port: 2}', 'berth.yaml: expected YAML, but Map keys must be unique at line 1, column 19'],
    [
      'templates: {GPU: {image: x}}',
      'berth.yaml: templates.GPU: expected a template’s name in lower-case letters, like gpu, got GPU',
    ],
    ['templates: {__proto__: {image: x}}', 'berth.yaml: templates.__proto__: no such setting'],
    [
      'templates: {gpu: {memory: 1g}}',
      'berth.yaml: templates.gpu.memory: expected templates.gpu.image beside it, as templates.gpu is no built-in template',
    ],
    ['templates: {data: false}', 'session.template: expected one of the templates (base), got "data"'],
    ['server: *x', 'berth.yaml: expected YAML, but Unresolved alias (the anchor must be set before the alias): x'],
  ];
  for (const [text, said] of fromFile) {
    it(JSON.stringify(text), () =>
      assert.equal(
        complaint(() => yaml(text)),
        said,
      ),
    );
  }

  it('names the flag', () => {
    const overrides = [{ key: 'server.port', value: 'x', flag: '--port' }];
    assert.equal(
      complaint(() => load({}, {}, overrides)),
      '--port: expected a whole number from 0 to 65535, got "x"',
    );
  });

  const shape =
    'BERTH_AUTH__KEYS: expected a list of {name, key or sha256, templates?, users?}, each key at least 16 characters (or name=key,name2=key)';
  const keys: readonly (readonly [string, string])[] = [
    ['ann=hunter2', `${shape}; the key of "ann" is too short`],
    ['hunter2hunter2hunter2', shape],
    ['[{"name":"ann","key":"hunter2hunter2hunter2","sha256":"00"}]', `${shape}; "ann" needs either key or sha256`],
    ['[{"name":"ann","sha256":"hunter2"}]', `${shape}; the sha256 of "ann" is not 64 hexadecimal digits`],
    ['[{"name":"ann","key":"hunter2hunter2hunter2","x":1}]', `${shape}; item 1 has the unknown key "x"`],
    ['a=hunter2hunter2hunter2,b=hunter2hunter2hunter2', `${shape}; "b" repeats another's key`],
    ['{"hunter2":', shape],
    ['[hunter2', shape],
  ];
  for (const [value, said] of keys) {
    it(`keys ${value} without echoing them`, () => {
      const message = complaint(() => load({ BERTH_AUTH__KEYS: value }));
      assert.equal(message, said);
      assert.ok(!message.includes('hunter2'));
    });
  }

  it('never echo a template’s variables or an address’s password', () => {
    assert.ok(!complaint(() => load({ BERTH_TEMPLATES__DATA__ENV: '{"A":["hunter2"]}' })).includes('hunter2'));
    const said = complaint(() => load({ BERTH_DOCKER__HOST: 'gopher://me:hunter2@host' }));
    assert.equal(
      said,
      'BERTH_DOCKER__HOST: expected an engine address like unix:///var/run/docker.sock, got "gopher://host"',
    );
  });

  it('never crash, and take one line', () => {
    const key = fc.constantFrom(...settingRows(['data', 'x-1']).map((row) => row.key));
    const value = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom('[', '{', '=', 'a=', ',', '-1', '1e999', 'NaN', '::', '\0'),
    );
    const variable = fc
      .tuple(key, value)
      .map(([at, text]) => [`BERTH_${at.toUpperCase().replaceAll('.', '__')}`, text] as const);
    const strange = fc.tuple(
      fc.string().map((text) => `MCP_SHELL_${text}`),
      value,
    );
    const env = fc.array(fc.oneof(variable, strange), { maxLength: 4 });
    fc.assert(
      fc.property(env, (pairs) => assertOneLine(() => load(Object.fromEntries(pairs)))),
      { numRuns: 2000 },
    );
  });

  it('never crash over any file', () => {
    const document = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .object({ key: fc.constantFrom('server', 'port', 'auth', 'keys', 'templates', 'data', 'env') })
        .map((object) => JSON.stringify(object)),
    );
    fc.assert(
      fc.property(document, (text) => assertOneLine(() => yaml(text))),
      { numRuns: 2000 },
    );
  });
});

function assertOneLine(work: () => unknown): void {
  const said = complaint(work);
  assert.ok(!/[\p{Cc}\u2028\u2029]/u.test(said), JSON.stringify(said));
  assert.ok(said.length < 600, said);
}

describe('who may listen where', () => {
  const cases: readonly (readonly [string, Env, boolean])[] = [
    ['localhost', {}, true],
    ['127.0.0.2', {}, true],
    ['::1', {}, true],
    ['::', {}, false],
    ['192.168.1.2', {}, false],
    ['127.0.0.1.evil.example', {}, false],
    ['0.0.0.0', { BERTH_AUTH__MODE: 'none' }, true],
    ['0.0.0.0', { BERTH_AUTH__KEYS: 'ann=0123456789abcdef' }, true],
  ];
  for (const [host, env, starts] of cases) {
    it(`${host} ${JSON.stringify(env)}: ${starts ? 'starts' : 'refused'}`, () => {
      const said = complaint(() => settleAuth(load({ BERTH_SERVER__HOST: host, ...env }).config, false));
      assert.equal(said === 'no complaint', starts, said);
    });
  }
});

describe('variables that are no settings', () => {
  it('may be set by Kubernetes for a service called berth', () => {
    const { config } = load({
      BERTH_PORT: 'tcp://10.0.0.1:3000',
      BERTH_PORT_3000_TCP_ADDR: '10.0.0.1',
      BERTH_SERVICE_HOST: '10.0.0.1',
      BERTH_SERVICE_PORT: '3000',
      BERTHA: 'x',
    });
    assert.equal(config.server.port, 3000);
  });
});

describe('describeConfig', () => {
  const { config, sources } = load(
    {
      BERTH_AUTH__KEYS: 'ann=0123456789abcdef',
      BERTH_TEMPLATES__DATA__ENV: 'TOKEN=hunter2',
      BERTH_DOCKER__HOST: 'ssh://me:hunter2@host',
      BERTH_OPEN_WEBUI__JWT_SECRET: 'hunter2hunter2hunter2',
    },
    { 'berth.yaml': 'server: {port: 4000, body_limit: 1048576}' },
  );
  const shown = describeConfig(config, sources);

  it('shows each setting with its source', () => {
    const find = (key: string) => shown.find((row) => row.key === key);
    assert.deepEqual(find('server.port'), { key: 'server.port', value: '4000', raw: 4000, source: 'berth.yaml' });
    assert.deepEqual(find('server.body_limit'), {
      key: 'server.body_limit',
      value: '1MiB',
      raw: 1048576,
      source: 'berth.yaml',
    });
    assert.deepEqual(find('server.host'), {
      key: 'server.host',
      value: '127.0.0.1',
      raw: '127.0.0.1',
      source: 'default',
    });
    assert.equal(find('auth.mode')?.value, 'keys');
    assert.equal(find('server.public_url')?.value, '–');
  });

  it('shows no secret', () => {
    assert.deepEqual(
      shown.filter((row) => row.source.startsWith('BERTH_')).map((row) => row.value),
      ['ann', '[set]', 'ssh://host', 'TOKEN'],
    );
    assert.ok(!JSON.stringify(shown).includes('hunter2'));
    assert.ok(!JSON.stringify(config).includes('0123456789abcdef'));
  });
});

describe('the generated files', () => {
  const root = join(import.meta.dirname, '..', '..');

  it('are fresh', () => {
    assert.deepEqual(generate(true), [], 'run node src/setup/readme.ts');
  });

  it('config/berth.yaml changes nothing', () => {
    const file = join(root, 'config', 'berth.yaml');
    const { config } = loadConfig({ env: home, file });
    assert.deepEqual(config, loadConfig({ env: home }).config);
    const text = readFileSync(file, 'utf8');
    for (const { key } of settingRows()) assert.match(text, new RegExp(`^ +(# )?${key.split('.').at(-1)}:`, 'm'));
  });

  it('config/security.yaml is a policy file', () => {
    const { config } = loadConfig({
      env: { ...home, BERTH_SECURITY_CONFIG_FILE: join(root, 'config', 'security.yaml') },
    });
    assert.equal(config.security.enabled, true);
    assert.equal(config.shell.max_timeout, 300);
    assert.ok(config.security.allowed_executables.includes('python3'));
    assert.equal(config.audit.enabled, true);
  });

  it('keep what is outside the markers', () => {
    const before = 'a\n<!-- tools:begin -->\nold\n<!-- tools:end -->\nb <!-- none:begin -->';
    assert.equal(
      withSections(before, { tools: '| new |', none: 'x' }),
      'a\n<!-- tools:begin -->\n| new |\n<!-- tools:end -->\nb <!-- none:begin -->',
    );
  });

  it('have a row with a description for every setting', () => {
    const rows = settingsTable().split('\n').slice(2);
    assert.equal(rows.length, settingRows().length);
    for (const row of rows) assert.match(row, /^\| `[a-z_.<>]+` \| .+ \| .+ \| .+[.–] \|$/, row);
  });
});

describe('hosts that no sandbox could ever reach are refused', () => {
  const load = (host: string) =>
    loadConfig({
      env: {},
      overrides: [{ key: 'templates.base.allow_hosts', value: JSON.stringify([host]), flag: '--test' }],
    });
  for (const host of ['pypi.org:8443', 'localhost', 'a.localhost', '127.0.0.1', '10.0.0.7', '169.254.169.254', '::1'])
    it(host, () => assert.throws(() => load(host), /expected a list of public host names without a port/));
  for (const host of ['pypi.org', '*.pypi.org', '*', '1.1.1.1', '2606:4700::1111'])
    it(`${host} is taken`, () => void load(host));
});

it('allow_private takes host:port, and nothing that leads to this host', () => {
  const given = (target: string) =>
    loadConfig({
      env: {},
      overrides: [{ key: 'templates.base.allow_private', value: JSON.stringify([target]), flag: '--test' }],
    });
  for (const fit of ['pypi.corp.example:443', '10.1.2.3:8080', '[fd12::1]:443'])
    assert.deepEqual(given(fit).config.templates['base']?.allow_private, [fit]);
  for (const unfit of [
    'pypi.corp.example',
    'localhost:80',
    '127.0.0.1:80',
    '[::1]:80',
    '169.254.169.254:80',
    'a:0',
    'a:99999',
  ])
    assert.throws(() => given(unfit), /expected a list of targets as host:port|expected host:port/, unfit);
});
