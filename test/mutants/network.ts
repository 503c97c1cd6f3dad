import { breaking } from './mutant.ts';

const addresses = breaking('src/egress/addresses.ts', 'test/unit/egress.test.ts');
const gate = breaking('src/egress/gate.ts', 'test/unit/egress.test.ts');
const target = breaking('src/egress/target.ts', 'test/unit/egress.test.ts');
const proxy = breaking('src/egress/proxy.ts', 'test/contract/egress.docker.test.ts');
const web = 'test/unit/egress-proxy.test.ts';
const front = breaking('src/egress/proxy.ts', web);
const turns = breaking('src/egress/turns.ts', web);
const connect = breaking('src/egress/connect.ts', web);
const headers = breaking('src/egress/headers.ts', web);
const doors = breaking('src/egress/doors.ts', 'test/contract/egress.docker.test.ts');
const open = breaking('src/runtimes/docker/open-network.ts', 'test/contract/open-network.docker.test.ts');
/** What another wall stands behind: the engine's own rules between bridges, and its switch between the sandboxes of one. */
const rules = breaking('src/runtimes/docker/open-network.ts', 'test/unit/open-network.test.ts');

/** What keeps sandboxes from where they may not connect to. */
export const network = [
  addresses(
    'only loopback and private addresses are forbidden',
    "if (range !== 'unicast')",
    'if (/loop|private/.test(range))',
  ),
  addresses(
    'a mapped address is none of IPv4',
    'const parsed = ipaddr.process(address)',
    'const parsed = ipaddr.parse(address)',
  ),
  addresses('Azure’s host can be reached', 'parsed.toString() === azureHost', 'false'),
  addresses('this host’s public addresses can be reached', 'own.has(parsed.toNormalizedString())', 'false'),
  addresses('reserved addresses of IPv6 can be reached', 'parsed instanceof ipaddr.IPv6 &&', 'false &&'),
  gate(
    'a name is resolved again for the connection',
    'allowed: true, addresses }',
    'allowed: true, addresses: await this.#resolve(target.host) }',
  ),
  gate('only the first address is looked at', 'of addresses) {', 'of addresses.slice(0, 1)) {'),
  gate('any name will do', 'if (!hosts.some((pattern) => matches(pattern, target.host)))', 'if (hosts.length === 0)'),
  gate('any port will do', 'if (!ports.includes(target.port))', 'if (ports.length === 0)'),
  gate(
    'a listed address may be any',
    'const kind = forbiddenKind(address)',
    'const kind = isIP(target.host) ? undefined : forbiddenKind(address)',
  ),
  gate('the end of a name is enough', 'host.endsWith(wanted.slice(1))', 'host.endsWith(wanted.slice(2))'),
  target(
    'an address may be spelt otherwise',
    'const host = URL.parse(`http://${name}/`)\n    ?.hostname.replace',
    'const host = name.replace',
  ),
  proxy('what is refused is connected to', 'if (!decision.allowed) return new Refusal(403, decision.message);', ''),
  proxy('bytes are not counted', 'ledger.spend(chunk.length) ? done', 'true ? done'),
  proxy(
    'nobody hears of refusals',
    'if (!decision.allowed) ledger.deny({ target: shown, message: decision.message });',
    '',
  ),
  turns(
    'all requests of a connection begin at once',
    'this.#last = this.#last.then(() => this.#run(exchange))',
    'this.#last = this.#run(exchange)',
  ),
  turns('any number of requests waits', 'if (this.#taken === most)', 'if (false)'),
  turns('requests of a client that is gone begin', 'if (this.#connection.writable) await', 'await'),
  front('requests without a host wait in any number', ', requireHostHeader: false', ''),
  front('requests that expect something wait in any number', "server.on('checkExpectation', forward);", ''),
  front('what is sent behind a refusal is asked for', 'await closed(res);', ''),
  front('a client that went while it was dialled for keeps what was dialled', 'if (res.closed) abort();', ''),
  front('a tunnel waits for no answer', 'turns.get(socket)?.idle ?', 'true ?'),
  connect('any number of connections is opened', 'if (open === most)', 'if (false)'),
  connect(
    'a connection counts for ever',
    "(await connect(address, port)).once('close', leave)",
    'await connect(address, port)',
  ),
  front('the body of a GET is no body', 'if (hasBody(req.headers)) sent.useChunkedEncodingByDefault = true;', ''),
  headers('a body in chunks is none', "headers['transfer-encoding'] !== undefined ||", ''),
  headers('a body of some length is none', "|| headers['content-length'] !== undefined", ''),
  doors('what is left of ended sandboxes stays', 'if (!handles.has(handle)) rmSync', 'if (false) rmSync'),
  rules('other sandboxes can be reached', '`-A BERTH-OUT -o ${bridge} ${reject}`,', ''),
  open('the host can be reached', '`-A BERTH-IN ${reject}`,', ''),
  open('a cloud’s metadata can be reached', "'169.254.0.0/16',", ''),
  rules('the host’s networks can be reached', "'172.16.0.0/12',", ''),
  open(
    'rules that are gone stay away',
    "if (first === `-A ${chain} ${rule.join(' ')}`) continue;",
    'if (first !== undefined) continue;',
  ),
];
