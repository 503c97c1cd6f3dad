import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engineError } from '../../src/runtimes/docker/errors.ts';
import { parseEvent } from '../../src/runtimes/docker/events.ts';

const answer = (statusCode: number, message: string) => Object.assign(new Error(message), { statusCode });
const broken = (code: string) => Object.assign(new Error(`connect ${code} /var/run/docker.sock`), { code });

describe("an engine's error", () => {
  for (const [cause, code, message] of [
    [broken('ENOENT'), 'engine_unavailable', 'The container engine is not running, or not where Berth looks for it.'],
    [
      broken('ECONNREFUSED'),
      'engine_unavailable',
      'The container engine is not running, or not where Berth looks for it.',
    ],
    [broken('EACCES'), 'engine_unavailable', 'The container engine refuses the user that Berth runs as.'],
    [broken('ECONNRESET'), 'engine_unavailable', 'The connection to the container engine failed (ECONNRESET).'],
    [
      answer(404, 'No such image: sha256:1234'),
      'image_missing',
      'The image team/tools:1 is not on the container engine.',
    ],
    [answer(404, 'No such container: 1234'), 'sandbox_lost', 'The sandbox is gone.'],
    [answer(409, 'Container 1234 is not running'), 'sandbox_lost', 'The sandbox has stopped.'],
    [answer(409, 'Container 1234 is paused, unpause'), 'busy', 'The sandbox is paused.'],
    [
      answer(500, 'mkdir /var/lib/docker/x: no space left on device'),
      'disk_full',
      "The container engine's disk is full.",
    ],
    [
      answer(500, 'open /var/lib/docker/overlay2/secret'),
      'internal',
      'The container engine could not try; the log says why.',
    ],
  ] as const)
    test(`${cause.message} is told as ${code}`, () => {
      const error = engineError(cause, { doing: 'try', image: 'team/tools:1', missing: 'container' });
      assert.deepEqual([error.code, error.message], [code, message]);
      assert.equal(error.cause, cause);
    });
});

describe('a line of events', () => {
  const line = (Action: string, Attributes = {}) => JSON.stringify({ Action, Actor: { ID: 'c1', Attributes } });

  test('is read where it concerns a container', () => {
    assert.deepEqual(parseEvent(line('die', { exitCode: '137' })), { type: 'die', container: 'c1', exitCode: 137 });
    assert.deepEqual(parseEvent(line('oom')), { type: 'oom', container: 'c1' });
    assert.deepEqual(parseEvent(line('destroy')), { type: 'destroy', container: 'c1' });
    assert.deepEqual(parseEvent(line('exec_die', { execID: 'e' })), { type: 'exec_die', container: 'c1', exec: 'e' });
  });

  test('is passed over otherwise', () => {
    for (const other of ['', ' ', line('start'), '{}', '{"Action":"die"}']) assert.equal(parseEvent(other), undefined);
  });
});
