import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { copyContents } from '../../src/setup/root-image.ts';

test('a keyring that is a symbolic link, on the machine and in the new root, becomes a plain file there', () => {
  const home = mkdtempSync(join(tmpdir(), 'berth-keyring-'));
  const [machine, root] = [join(home, 'machine'), join(home, 'root')];
  for (const place of [machine, root]) {
    mkdirSync(place);
    writeFileSync(join(place, 'keyring.pgp'), `the keys of ${place}`);
    symlinkSync('keyring.pgp', join(place, 'keyring.gpg'));
  }
  copyContents(join(machine, 'keyring.gpg'), join(root, 'keyring.gpg'));
  assert.equal(readFileSync(join(root, 'keyring.gpg'), 'utf8'), `the keys of ${machine}`);
  assert.equal(lstatSync(join(root, 'keyring.gpg')).isSymbolicLink(), false);
  copyContents(join(machine, 'keyring.gpg'), join(root, 'etc/apt/keyrings/another.gpg'));
  assert.equal(readFileSync(join(root, 'etc/apt/keyrings/another.gpg'), 'utf8'), `the keys of ${machine}`);
  assert.equal(readFileSync(join(root, 'keyring.pgp'), 'utf8'), `the keys of ${root}`);
  rmSync(home, { recursive: true });
});
