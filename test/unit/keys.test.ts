import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../src/errors.ts';
import { keyText } from '../../src/sandbox/session/terminal/keys.ts';

const cases: readonly [string, string, string?][] = [
  ['ctrl-c', '\x03'],
  ['ctrl-d', '\x04'],
  ['Ctrl+C', '\x03'],
  ['^D', '\x04'],
  ['C-a', '\x01'],
  ['ctrl-z', '\x1a'],
  ['ctrl-\\', '\x1c'],
  ['ctrl-]', '\x1d'],
  ['ctrl-space', '\0'],
  ['ctrl-p', '\x10'],
  ['ctrl-q', '\x11'],
  ['ctrl-s', '\x13'],
  ['enter', '\r'],
  ['tab', '\t'],
  ['shift-tab', '\x1b[Z'],
  ['escape', '\x1b'],
  ['esc', '\x1b'],
  ['space', ' '],
  ['backspace', '\x7f'],
  ['up', '\x1b[A', '\x1bOA'],
  ['down', '\x1b[B', '\x1bOB'],
  ['right', '\x1b[C', '\x1bOC'],
  ['left', '\x1b[D', '\x1bOD'],
  ['home', '\x1b[H', '\x1bOH'],
  ['end', '\x1b[F', '\x1bOF'],
  ['ctrl-right', '\x1b[1;5C', '\x1b[1;5C'],
  ['shift-up', '\x1b[1;2A'],
  ['ctrl-shift-left', '\x1b[1;6D'],
  ['alt-down', '\x1b[1;3B'],
  ['insert', '\x1b[2~'],
  ['delete', '\x1b[3~'],
  ['page-up', '\x1b[5~'],
  ['PageDown', '\x1b[6~'],
  ['pgdn', '\x1b[6~'],
  ['ctrl-delete', '\x1b[3;5~'],
  ['f1', '\x1bOP'],
  ['f4', '\x1bOS'],
  ['F5', '\x1b[15~'],
  ['f10', '\x1b[21~'],
  ['f12', '\x1b[24~'],
  ['shift-f5', '\x1b[15;2~'],
  ['ctrl-f1', '\x1b[1;5P'],
  ['alt-x', '\x1bx'],
  ['alt-enter', '\x1b\r'],
  ['alt-shift-x', '\x1bX'],
  ['ctrl-alt-c', '\x1b\x03'],
  ['a', 'a'],
  ['?', '?'],
];

for (const [name, expected, application] of cases) {
  test(`${name} sends ${JSON.stringify(expected)}`, () => {
    assert.equal(keyText(name, false), expected);
    if (application) assert.equal(keyText(name, true), application);
  });
}

for (const name of ['', 'ctrl-', 'hyper-x', 'f13', 'ctrl-é', 'upp', 'constructor', '__proto__']) {
  test(`${JSON.stringify(name)} is no key`, () => {
    assert.throws(
      () => keyText(name, false),
      (error: unknown) => {
        assert.ok(error instanceof AppError);
        assert.equal(error.code, 'invalid_argument');
        const sample = 'ctrl-c, up, enter, tab, escape, page-down, f5, alt-x, ctrl-right';
        assert.equal(error.message, `keys: expected names such as ${sample}; got ${JSON.stringify(name)}.`);
        return true;
      },
    );
  });
}
