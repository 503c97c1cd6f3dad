import { createHash } from 'node:crypto';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { resolveScope, type ScopeHints, type ScopeSettings } from '../../src/api/mcp/scope.ts';

const settings: ScopeSettings = {
  scope: 'auto',
  conversation_headers: ['X-Chat', 'X-Other'],
  conversation_meta: ['app/session'],
};

const hints = (
  given: { headers?: Record<string, string>; meta?: Record<string, unknown>; session?: string } = {},
): ScopeHints => ({
  header: (name) => given.headers?.[name],
  meta: given.meta,
  sessionId: given.session,
});

const all = hints({ headers: { 'X-Other': 'o', 'X-Chat': 'c' }, meta: { 'app/session': 'm' }, session: 's' });

test('a handle, then headers in order, then _meta, then the session, then the default', () => {
  assert.deepEqual(resolveScope('h', all, settings), { kind: 'handle', id: 'h' });
  assert.deepEqual(resolveScope(undefined, all, settings), { kind: 'conversation', id: 'c' });
  const meta = hints({ headers: { 'X-Chat': ' ' }, meta: { 'app/session': 'm' }, session: 's' });
  assert.deepEqual(resolveScope(undefined, meta, settings), { kind: 'conversation', id: 'm' });
  assert.deepEqual(resolveScope(undefined, hints({ session: 's' }), settings), { kind: 'session', id: 's' });
  assert.deepEqual(resolveScope(undefined, hints(), settings), { kind: 'default' });
});

test('a user of a shared connection has one sandbox besides his conversations', () => {
  assert.deepEqual(resolveScope(undefined, { ...hints({ session: 's' }), endUser: true }, settings), {
    kind: 'default',
  });
  assert.deepEqual(resolveScope(undefined, { ...all, endUser: true }, settings), { kind: 'conversation', id: 'c' });
});

test('session.scope fixes what counts, but for the handle', () => {
  const fixed = (scope: ScopeSettings['scope'], given: ScopeHints) =>
    resolveScope(undefined, given, { ...settings, scope });
  assert.deepEqual(fixed('principal', all), { kind: 'default' });
  assert.deepEqual(fixed('session', all), { kind: 'session', id: 's' });
  assert.deepEqual(fixed('conversation', all), { kind: 'conversation', id: 'c' });
  assert.deepEqual(resolveScope('h', all, { ...settings, scope: 'principal' }), { kind: 'handle', id: 'h' });
  assert.throws(() => fixed('session', hints({ headers: { 'X-Chat': 'c' } })), {
    code: 'invalid_argument',
    message:
      'This server keeps one sandbox per session and needs an Mcp-Session-Id, which this request has not; call create_sandbox and pass its handle as `sandbox`.',
  });
  assert.throws(
    () => fixed('conversation', hints({ session: 's' })),
    /needs a conversation id \(X-Chat, X-Other, app\/session\)/,
  );
});

test('a long or odd id is hashed, and no plain id can pass for the hash', () => {
  const id = (value: string) => resolveScope(undefined, hints({ headers: { 'X-Chat': value } }), settings);
  const hash = (value: string) => `~${createHash('sha256').update(value).digest('hex')}`;
  assert.deepEqual(id('temporary:1f-2.a@b'), { kind: 'conversation', id: 'temporary:1f-2.a@b' });
  for (const odd of ['a b', 'ä', 'x'.repeat(129), '../..', hash('x')])
    assert.deepEqual(id(odd), { kind: 'conversation', id: hash(odd) });
});

test('a hint that is no text is none', () => {
  for (const value of [5, {}, [], null, true])
    assert.deepEqual(resolveScope(undefined, hints({ meta: { 'app/session': value } }), settings), { kind: 'default' });
});
