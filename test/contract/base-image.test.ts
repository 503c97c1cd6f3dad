import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { sh } from '../support/run.ts';

const instance = newInstance();
after(() => sweep(instance));

test('the base image has the directories that packages built on it make links in', { timeout: 60_000 }, async () => {
  await using runtime = testRuntime({ instance });
  const box = await runtime.open(specOf(`berth-${instance}-base`));
  assert.match(await sh(box, 'ls -d /usr/share/man/man1 /usr/share/man/man8'), /man1\n.*man8/);
});

test('git works on what belongs to somebody else, as on a mount', { timeout: 60_000 }, async () => {
  await using runtime = testRuntime({ instance });
  const box = await runtime.open(specOf(`berth-${instance}-git`));
  assert.equal(await sh(box, 'git config --system --get-all safe.directory'), '*\n');
});

const plot = `import warnings; warnings.simplefilter("error")
import matplotlib.pyplot as plt
plt.title("数据 データ 데이터 😀"); plt.savefig("/tmp/plot.png")
import docx, openpyxl, pandas, requests, scipy.stats`;

test('the data image plots every script, and has the tools for documents', { timeout: 120_000 }, async () => {
  await using runtime = testRuntime({ instance });
  const box = await runtime.open({ ...specOf(`berth-${instance}-data`), image: 'berth/data:latest' });
  assert.equal(await sh(box, `python3 -c '${plot}' && echo fine`), 'fine\n');
  assert.match(await sh(box, 'which pdftotext qpdf wget ssh'), /(.+\n){4}/);
  assert.match(await sh(box, 'LC_ALL=de_DE.UTF-8 locale decimal_point'), /^,\n$/);
  assert.doesNotMatch(await sh(box, 'which gcc g++; true'), /./, 'no compiler came along');
});
