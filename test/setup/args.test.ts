import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { help, readArguments, UsageError } from '../../src/cli/args.mjs';

const refused = (argv: string[]): string => {
  try {
    readArguments(argv);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error.message;
  }
  assert.fail(`${argv.join(' ')} was accepted`);
};

describe('the command line', () => {
  test('reads flags in both spellings', () => {
    assert.deepEqual(readArguments(['up', '--port', '4000', '--host=127.0.0.1', '--rebuild']), {
      command: 'up',
      flags: { port: '4000', host: '127.0.0.1', rebuild: true },
      rest: [],
    });
  });

  test('refuses an unknown flag by its name, and says which there are', () => {
    assert.equal(refused(['serve', '--prot', '1']), 'Unknown flag --prot: berth serve takes --config, --host, --port.');
    assert.equal(refused(['serve', '-x']), 'Unknown flag -x: berth serve takes --config, --host, --port.');
    assert.equal(
      refused(['--verbose']),
      'Unknown flag "--verbose": expected one of up, serve, guard, doctor, config, key, ps, stop, end, workspace, backup, restore, audit.',
    );
  });

  test('refuses unknown commands, also those that every object has', () => {
    assert.equal(
      refused(['strat']),
      'Unknown command "strat": expected one of up, serve, guard, doctor, config, key, ps, stop, end, workspace, backup, restore, audit.',
    );
    assert.equal(
      refused(['constructor']),
      'Unknown command "constructor": expected one of up, serve, guard, doctor, config, key, ps, stop, end, workspace, backup, restore, audit.',
    );
    assert.equal(
      refused(['serve', '--constructor']),
      'Unknown flag --constructor: berth serve takes --config, --host, --port.',
    );
  });

  test('refuses a missing value, a surplus value and a surplus word', () => {
    assert.equal(refused(['serve', '--port']), 'The flag --port needs a value: --port NUMBER.');
    assert.equal(refused(['up', '--rebuild=no']), 'The flag --rebuild takes no value; it came with "no".');
    assert.equal(refused(['serve', 'now']), 'Unexpected argument "now": berth serve takes flags only.');
  });

  test('help is there for all and for one', () => {
    assert.equal(readArguments(['--help']).command, 'help');
    assert.deepEqual(readArguments(['doctor', '--help']).rest, ['doctor']);
    assert.match(help('doctor'), /--json/);
    assert.match(help(undefined), /^ {2}up /m);
  });
});
