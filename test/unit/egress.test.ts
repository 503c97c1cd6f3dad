import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { forbiddenKind, forbiddenPrivateKind } from '../../src/egress/addresses.ts';
import { Gate, matches } from '../../src/egress/gate.ts';
import { passedOn } from '../../src/egress/headers.ts';
import { Ledger } from '../../src/egress/ledger.ts';
import { Pace } from '../../src/egress/pace.ts';
import { proxyVariables } from '../../src/sandbox/network/egress.ts';
import { parseAuthority, parseForward } from '../../src/egress/target.ts';

const own: ReadonlySet<string> = new Set(['203.0.112.7', '2a00:1:2:3:0:0:0:4']);

const forbidden = [
  ['127.0.0.1', 'a loopback address'],
  ['127.255.255.254', 'a loopback address'],
  ['0.0.0.0', 'the unspecified address'],
  ['0.1.2.3', 'the unspecified address'],
  ['10.0.0.1', 'a private address'],
  ['172.16.0.1', 'a private address'],
  ['172.31.255.255', 'a private address'],
  ['192.168.1.1', 'a private address'],
  ['169.254.169.254', 'a link-local address (where clouds keep their metadata)'],
  ['169.254.170.2', 'a link-local address (where clouds keep their metadata)'],
  ['168.63.129.16', 'an address where a cloud keeps its metadata'],
  ['::ffff:168.63.129.16', 'an address where a cloud keeps its metadata'],
  ['100.64.0.1', 'an address behind a carrier’s NAT'],
  ['100.100.100.200', 'an address behind a carrier’s NAT'],
  ['224.0.0.1', 'a multicast address'],
  ['239.255.255.255', 'a multicast address'],
  ['255.255.255.255', 'the broadcast address'],
  ['240.0.0.1', 'a reserved address (reserved)'],
  ['192.0.0.192', 'a reserved address (reserved)'],
  ['192.0.2.1', 'a reserved address (reserved)'],
  ['198.18.0.1', 'a reserved address (reserved)'],
  ['198.51.100.1', 'a reserved address (reserved)'],
  ['203.0.113.1', 'a reserved address (reserved)'],
  ['::', 'the unspecified address'],
  ['::1', 'a loopback address'],
  ['fe80::1', 'a link-local address (where clouds keep their metadata)'],
  ['fc00::1', 'a private address'],
  ['fd00:ec2::254', 'a private address'],
  ['ff02::1', 'a multicast address'],
  ['::ffff:127.0.0.1', 'a loopback address'],
  ['::ffff:169.254.169.254', 'a link-local address (where clouds keep their metadata)'],
  ['::ffff:a9fe:a9fe', 'a link-local address (where clouds keep their metadata)'],
  ['::127.0.0.1', 'a reserved address'],
  ['64:ff9b::a9fe:a9fe', 'a reserved address (rfc6052)'],
  ['64:ff9b:1::1', 'a reserved address'],
  ['2002:7f00:1::', 'a reserved address (6to4)'],
  ['2001:0:1::1', 'a reserved address (teredo)'],
  ['2001:db8::1', 'a reserved address (reserved)'],
  ['fec0::1', 'a reserved address'],
  ['4000::1', 'a reserved address'],
  ['203.0.112.7', 'an address of this host'],
  ['::ffff:203.0.112.7', 'an address of this host'],
  ['2a00:1:2:3::4', 'an address of this host'],
  ['', 'no address'],
  ['example.org', 'no address'],
] as const;

const open = [
  '1.1.1.1',
  '151.101.0.223',
  '172.15.0.1',
  '172.32.0.1',
  '100.63.255.255',
  '100.128.0.1',
  '169.253.0.1',
  '2606:4700::1111',
  '2a04:4e42::223',
];

test('a sandbox asks no proxy for itself', () => {
  for (const name of ['NO_PROXY', 'no_proxy'])
    assert.deepEqual(proxyVariables[name]?.split(','), ['localhost', '127.0.0.1', '::1', '0.0.0.0', 'berth']);
});

describe('addresses', () => {
  for (const [address, kind] of forbidden)
    test(`${address || 'nothing'} is forbidden`, () => {
      const found = forbiddenKind(address, own);
      assert.ok(found, 'it was let through');
      if (!kind.startsWith('a reserved')) assert.equal(found, kind);
    });
  for (const address of open) test(`${address} is open`, () => assert.equal(forbiddenKind(address, own), undefined));
});

describe('targets', () => {
  for (const [text, wanted] of [
    ['example.org:443', { host: 'example.org', port: 443 }],
    ['Example.org.:443', { host: 'example.org', port: 443 }],
    ['0x7f.1:80', { host: '127.0.0.1', port: 80 }],
    ['2130706433:80', { host: '127.0.0.1', port: 80 }],
    ['0177.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['[::1]:443', { host: '::1', port: 443 }],
    ['[::ffff:169.254.169.254]:80', { host: '::ffff:a9fe:a9fe', port: 80 }],
    ['example.org', undefined],
    ['example.org:0', undefined],
    ['example.org:65536', undefined],
    ['user@example.org:443', undefined],
    ['example.org:443/x', undefined],
    ['a b:443', undefined],
    ['example.org\r\nx:443', undefined],
    ['-evil.org:443', undefined],
    ['', undefined],
  ] as const)
    test(`CONNECT ${JSON.stringify(text)}`, () => assert.deepEqual(parseAuthority(text), wanted));

  for (const [text, wanted] of [
    ['http://example.org/a/../b?c', { host: 'example.org', port: 80, path: '/a/../b?c' }],
    ['http://EXAMPLE.org:8080', { host: 'example.org', port: 8080, path: '/' }],
    ['http://example.org?x=1', { host: 'example.org', port: 80, path: '/?x=1' }],
    ['http://127.1/', { host: '127.0.0.1', port: 80, path: '/' }],
    ['http://[::1]/', { host: '::1', port: 80, path: '/' }],
    ['http://good.org@evil.org/', undefined],
    ['https://example.org/', undefined],
    ['ftp://example.org/', undefined],
    ['/local', undefined],
    ['*', undefined],
  ] as const)
    test(`a request for ${text}`, () => assert.deepEqual(parseForward(text), wanted));
});

describe('names', () => {
  for (const [pattern, host, wanted] of [
    ['example.org', 'example.org', true],
    ['Example.org', 'example.org', true],
    ['example.org', 'files.example.org', false],
    ['example.org', 'evilexample.org', false],
    ['*.example.org', 'files.example.org', true],
    ['*.example.org', 'a.b.example.org', true],
    ['*.example.org', 'example.org', false],
    ['*.example.org', 'evilexample.org', false],
    ['*.0.0.1', '127.0.0.1', false],
    ['*', 'anything.example', true],
  ] as const)
    test(`${pattern} ${wanted ? 'matches' : 'does not match'} ${host}`, () =>
      assert.equal(matches(pattern, host), wanted));
});

describe('a decision', () => {
  const answers: Record<string, string[]> = {
    'good.org': ['151.101.0.223'],
    'metadata.org': ['169.254.169.254'],
    'mixed.org': ['151.101.0.223', '10.0.0.1'],
    'loop.org': ['::ffff:127.0.0.1'],
  };
  let asked = 0;
  const policy = { hosts: ['*.org', '127.0.0.1', '*.example.com'], ports: [80, 443], bytes: 1000 };
  const gate = new Gate('web', policy, async (host) => ((asked += 1), answers[host] ?? []));
  const decide = async (host: string, port = 443) => await gate.decide({ host, port });

  test('lets a public address through, resolved once', async () => {
    asked = 0;
    assert.deepEqual(await decide('good.org'), { allowed: true, addresses: ['151.101.0.223'] });
    assert.equal(asked, 1);
  });
  test('refuses a name that is not listed, and never resolves it', async () => {
    asked = 0;
    assert.deepEqual(await decide('evil.com'), {
      allowed: false,
      rule: 'name',
      message:
        'evil.com:443 was refused: sandboxes of the template web may reach only *.org, 127.0.0.1, *.example.com.',
    });
    assert.equal(asked, 0);
  });
  test('refuses a port that is not listed', async () => {
    assert.deepEqual(await decide('good.org', 22), {
      allowed: false,
      rule: 'port',
      message: 'good.org:22 was refused: sandboxes of the template web may reach only ports 80, 443.',
    });
  });
  test('refuses a listed name that leads to the metadata service', async () => {
    assert.deepEqual(await decide('metadata.org', 80), {
      allowed: false,
      rule: 'address',
      message:
        'metadata.org:80 was refused: metadata.org leads to 169.254.169.254, a link-local address (where clouds keep their metadata), which no sandbox may reach.',
    });
  });
  for (const host of ['mixed.org', 'loop.org'])
    test(`refuses ${host}, of whose addresses one is forbidden`, async () => {
      const decision = await decide(host);
      assert.equal(!decision.allowed && decision.rule, 'address');
    });
  test('refuses a forbidden address even when it is listed', async () => {
    const decision = await decide('127.0.0.1', 80);
    assert.equal(
      !decision.allowed && decision.message,
      '127.0.0.1:80 was refused: it is a loopback address, which no sandbox may reach.',
    );
  });
});

test('headers of one connection are not passed on', () => {
  const headers = {
    host: 'a',
    connection: 'keep-alive, X-Secret',
    'proxy-authorization': 'Basic eDp5',
    'transfer-encoding': 'chunked',
    'x-secret': '1',
    accept: '*/*',
  };
  assert.deepEqual(passedOn(headers), { host: 'a', accept: '*/*' });
});

test('an account forgets old refusals and counts bytes', () => {
  const ledger = new Ledger(10);
  for (let at = 0; at < 100; at += 1) ledger.deny({ target: `h${at}:443`, message: `h${at}` });
  assert.deepEqual(ledger.denials(0).at(-1)?.target, 'h99:443');
  assert.equal(ledger.denials(0).length, 32);
  assert.deepEqual(ledger.denials(performance.now() + 1), []);
  assert.deepEqual([ledger.spend(10), ledger.exhausted, ledger.spend(1)], [true, true, false]);
});

test('a flood of decisions is a few lines and a count', (t) => {
  t.mock.method(performance, 'now', () => now);
  let now = 5000;
  const pace = new Pace();
  const told = Array.from({ length: 1000 }, () => pace.skipped()).filter((skipped) => skipped !== undefined);
  assert.deepEqual(told, Array(100).fill(0));
  now = 6000;
  assert.equal(pace.skipped(), 900);
});

test('a target that the operator names may be private, but neither this host nor a cloud’s metadata', () => {
  const mine = new Set([...own, '10.0.0.1']);
  for (const open of ['10.1.2.3', '192.168.1.1', 'fd12::1', '100.64.0.9', '8.8.8.8'])
    assert.equal(forbiddenPrivateKind(open, mine), undefined, open);
  for (const shut of [
    '10.0.0.1',
    '::ffff:10.0.0.1',
    '127.0.0.1',
    '169.254.169.254',
    'fd00:ec2::254',
    '100.100.100.200',
    '168.63.129.16',
    '203.0.112.7',
  ])
    assert.notEqual(forbiddenPrivateKind(shut, mine), undefined, shut);
});

test('a private target is open at its own port alone, and resolved once', async () => {
  let asked = 0;
  const policy = { hosts: ['*'], ports: [80, 443], bytes: 1, privates: ['pypi.corp.example:8443'] };
  const answers: Record<string, string> = { 'pypi.corp.example': '10.1.2.3' };
  const gate = new Gate('data', policy, async (host) => (asked++, [answers[host] ?? '8.8.8.8']));
  const target = (port: number) => ({ host: 'pypi.corp.example', port });
  assert.deepEqual(await gate.decide(target(8443)), { allowed: true, addresses: ['10.1.2.3'] });
  assert.equal(asked, 1);
  const refused = await gate.decide(target(443));
  assert.equal(refused.allowed, false);
  answers['pypi.corp.example'] = '169.254.169.254';
  assert.equal((await gate.decide(target(8443))).allowed, false);
});
