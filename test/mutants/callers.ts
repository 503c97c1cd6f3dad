import { breaking } from './mutant.ts';

const twoPrincipals = 'test/mcp/two-principals.test.ts';
const keys = 'test/mcp/keys.test.ts';
const http = 'test/mcp/http.test.ts';
const state = breaking('src/state/state.ts', twoPrincipals);
const roster = breaking('src/sandbox/lifecycle/roster.ts', 'test/unit/pool.test.ts');
const sessions = breaking('src/api/mcp/sessions.ts', 'test/mcp/sessions.test.ts');
const files = breaking('src/api/http/files.ts', twoPrincipals);
const terminal = breaking('src/api/http/terminal.ts', twoPrincipals);
const links = breaking('src/identity/links.ts', 'test/mcp/links.test.ts');
const store = breaking('src/identity/key-store.ts', 'test/unit/key-store.test.ts');
const replay = 'test/mcp/open-webui-replay.test.ts';
const webui = breaking('src/identity/open-webui.ts', replay);
const tokens = breaking('src/identity/open-webui.ts', 'test/mcp/identity.test.ts');
const oidc = breaking('src/identity/oidc.ts', 'test/mcp/identity.test.ts');
const identity = breaking('src/identity/identity.ts', http);

const keyNames = `return [key.principal.id, key.scope.kind, 'id' in key.scope ? key.scope.id : ''].join('\\0');
}

/** Every key that leads to the row: its own, and its handle. */
function namesOf(row: SandboxRow): string[] {
  return [\`\${row.principal}`;

/** What keeps callers apart, and strangers out. */
export const callers = [
  state('a handle is anybody’s', "handle = ? AND principal = ?').get(handle, principal)", "handle = ?').get(handle)"),
  state(
    'everybody’s sandboxes are listed',
    "WHERE principal = ? ORDER BY created')\n      .all(principal)",
    "ORDER BY created')\n      .all()",
  ),
  breaking('src/state/state.ts', 'test/unit/state.test.ts')(
    'a stored session is anybody’s',
    'WHERE id = ? AND principal = ?',
    'WHERE id = ? AND ? IS NOT NULL',
  ),
  roster(
    'a chat of one is the chat of all',
    keyNames,
    keyNames.replace('key.principal.id', "''").replace('${row.principal}', ''),
  ),
  breaking('src/state/state.ts', 'test/unit/state.test.ts')(
    'a kept chat of one is the chat of all',
    'WHERE principal = ? AND scope_kind = ?',
    'WHERE ? IS NOT NULL AND scope_kind = ?',
  ),
  sessions('a session is anybody’s', 'session?.principal.id === caller.principal.id ? session : undefined', 'session'),
  files(
    'files are anybody’s',
    "const key = { principal: c.get('principal'),",
    "const key = { principal: (await ctx.sandboxes.ownerOf(c.req.param('id') ?? '')) ?? c.get('principal'),",
  ),
  terminal(
    'terminals are anybody’s',
    "const key = { principal: c.get('principal'),",
    "const key = { principal: (await ctx.sandboxes.ownerOf(c.req.param('id') ?? '')) ?? c.get('principal'),",
  ),
  links('a link is good for every path', 'String(expires), madeBy, path]', 'String(expires), madeBy]'),
  links('a link outlives its key', '!this.#isGoodKey(madeBy)', 'false'),
  links('a link may name another key', 'String(expires), madeBy, path]', 'String(expires), path]'),
  breaking('src/identity/key-store.ts', 'test/unit/state.test.ts')(
    'everybody reads the state',
    "closeSync(openSync(file, 'a', 0o600));",
    'return;',
  ),
  links('a link to read lets write', 'const said = [kind, handle', 'const said = [handle'),
  links('a link never ends', "expires * 1000 > Date.now() ? 'good' : 'expired'", "'good'"),
  links('a link may say when it ends', 'String(expires), madeBy, path]', "'', madeBy, path]"),
  links('a link is good for every sandbox', 'const said = [kind, handle', 'const said = [kind'),
  store('a revoked key is good', 'return revoked === null &&', 'return (revoked ?? 0) >= 0 &&'),
  store('an expired key is good', '(expires === null || expires > Date.now())', '(expires ?? 1) > 0'),
  store('the file has the keys', 'this.#insert.run(id, name, hashOf(text)', 'this.#insert.run(id, name, text'),
  identity(
    'who has no key is let in',
    'if (!owner) throw refused;',
    "if (!owner) return { principal: { id: 'anonymous' } };",
  ),
  breaking('src/identity/identity.ts', 'test/mcp/identity.test.ts')(
    'users of one key are one',
    'id: `${prefix}:${boundedId(user.id)}`',
    'id: prefix',
  ),
  breaking('src/identity/keys.ts', http)('any key will do', '(timingSafeEqual(other, hash) ? key : found)', 'key'),
  breaking('src/api/http/permit.ts', keys)(
    'a key is good for everything',
    'if (scopes && !enough.some',
    'if (scopes && !enough && !enough.some',
  ),
  breaking('src/api/mcp/rights.ts', keys)(
    'a key that may read may write',
    "scopes.includes('read') && annotations?.readOnlyHint === true",
    "scopes.includes('read')",
  ),
  breaking('src/api/http/terminal-socket.ts', keys)('an open terminal outlives its key', '.then(needGood)', ''),
  oidc('a token of another issuer is good', '{ algorithms, issuer, audience,', '{ algorithms, audience,'),
  oidc('a token for another service is good', '{ algorithms, issuer, audience,', '{ algorithms, issuer,'),
  oidc('a token may last for ever', ", requiredClaims: ['exp']", ''),
  tokens(
    'a user’s token needs no signature',
    'const claims = await jwtVerify(token, key, hs256).catch(() => undefined);',
    "const claims = { payload: JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown> };",
  ),
  webui('a signed user needs no issuer', "issuer: 'open-webui', ", ''),
  webui(
    'plain headers count as signed',
    'if (!token) return { refusal: missing(settings, header) };',
    "if (!token) return { id: header(settings.user_header) ?? '', groups: [] };",
  ),
  webui('an expired token is good for ever', '&& memory.holds(token)', ''),
  breaking('src/api/http/host.ts', http)('any Host will do', 'if (!allowed(host)) {', "if (host === '') {"),
  breaking('src/api/http/origin.ts', http)(
    'any Origin will do',
    'if (origin && !allowed',
    "if (origin === '' && !allowed",
  ),
  breaking('src/lib/loopback.ts', http)(
    'a name that begins like the loopback’s is it',
    "hostname === 'localhost'",
    "hostname.startsWith('localhost')",
  ),
];
