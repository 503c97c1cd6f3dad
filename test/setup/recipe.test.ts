import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { extract } from 'tar-stream';
import { packContext, readContext, recipeTag } from '../../src/setup/recipe.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-recipe-'));
after(() => rmSync(directory, { recursive: true }));
mkdirSync(join(directory, 'src'));
writeFileSync(join(directory, 'Dockerfile'), 'FROM scratch\n');
writeFileSync(join(directory, 'src', 'run'), '#!/bin/sh\n', { mode: 0o755 });
writeFileSync(join(directory, 'notes.md'), 'for people');
mkdirSync(join(directory, 'build'));
writeFileSync(join(directory, 'build', 'out'), 'made here');
writeFileSync(join(directory, '.dockerignore'), '# made here\nbuild\n');

describe('an image’s tag', () => {
  const files = readContext(directory);

  test('is the same for the same files on the same base, twelve hexadecimal digits', () => {
    assert.equal(recipeTag(files, 'sha256:abc'), recipeTag(readContext(directory), 'sha256:abc'));
    assert.match(recipeTag(files, 'sha256:abc'), /^[0-9a-f]{12}$/);
  });

  test('changes with the base, a file’s content, its name and its mode', () => {
    const [first, second] = files;
    assert.ok(first && second);
    const tags = [
      recipeTag(files, 'sha256:abc'),
      recipeTag(files, 'sha256:abd'),
      recipeTag([{ ...first, content: Buffer.from('FROM scratcH\n') }, second], 'sha256:abc'),
      recipeTag([first, { ...second, path: 'src/ran' }], 'sha256:abc'),
      recipeTag([first, { ...second, executable: false }], 'sha256:abc'),
    ];
    assert.equal(new Set(tags).size, 5);
  });

  test('is not moved by what is written for people or ignored', () => {
    assert.deepEqual(
      files.map(({ path, executable }) => [path, executable]),
      [
        ['Dockerfile', false],
        ['src/run', true],
      ],
    );
  });
});

test('the context travels as a tar with the files’ modes', async () => {
  const seen: [string, number | undefined][] = [];
  const reader = extract();
  packContext(readContext(directory)).pipe(reader);
  for await (const entry of reader) {
    seen.push([entry.header.name, entry.header.mode]);
    entry.resume();
  }
  assert.deepEqual(seen, [
    ['Dockerfile', 0o644],
    ['src/run', 0o755],
  ]);
});
