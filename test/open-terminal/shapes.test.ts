import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Pane, sessionSecret } from '../support/pane.ts';
import { ServerProcess } from '../support/server-process.ts';
import { deeds, differences, shapesOf, type Shape } from './shapes.ts';

/** What `open-terminal` 0.14.5 answered to the same deeds. */
const recorded = JSON.parse(readFileSync(new URL('open-terminal-shapes.json', import.meta.url), 'utf8')) as Record<
  string,
  Shape
>;
let server: ServerProcess;
let shapes: Record<string, Shape>;

before(async () => {
  server = await ServerProcess.start({
    BERTH_OPEN_WEBUI__SESSION_SECRET: sessionSecret,
    BERTH_SESSION__TEMPLATE: 'base',
  });
  const pane = await Pane.of(server.url, 'ann', randomUUID());
  shapes = await shapesOf(pane.base, pane.headers);
});
after(() => server[Symbol.asyncDispose]());

for (const { name } of deeds) {
  test(`${name} is answered as open-terminal answers it`, () => {
    assert.deepEqual(shapes[name], differences[name]?.shape ?? recorded[name]);
  });
}
