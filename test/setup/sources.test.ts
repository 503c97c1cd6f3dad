import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  distributionSources,
  formatSources,
  parseDeb822,
  parseRelease,
  parseSourcesList,
} from '../../src/setup/sources.ts';

const bookworm = { id: 'debian', codename: 'bookworm' };

describe('sources.list', () => {
  test('reads options, skips comments and source packages', () => {
    const text = [
      '# deb http://old.example/debian bookworm main',
      'deb-src http://mirror.example/debian bookworm main',
      'deb http://mirror.example/debian bookworm main contrib # the mirror',
      'deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg trusted=yes] https://m.example/s bookworm-security main',
    ].join('\n');
    assert.deepEqual(parseSourcesList(text), [
      { uri: 'http://mirror.example/debian', suite: 'bookworm', components: ['main', 'contrib'], trusted: false },
      {
        uri: 'https://m.example/s',
        suite: 'bookworm-security',
        components: ['main'],
        trusted: true,
        signedBy: '/usr/share/keyrings/debian-archive-keyring.gpg',
      },
    ]);
  });
});

describe('deb822 sources', () => {
  test('gives one entry per address and suite, and leaves out what is off', () => {
    const text = [
      'Types: deb deb-src',
      '# a comment between the fields',
      'URIs: http://a.example/debian',
      ' http://b.example/debian',
      'Suites: bookworm bookworm-updates',
      'Components: main',
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
      '',
      'Types: deb',
      'URIs: http://off.example/debian',
      'Suites: bookworm',
      'Components: main',
      'Enabled: no',
      '',
      'Types: deb-src',
      'URIs: http://src.example/debian',
      'Suites: bookworm',
      'Components: main',
    ].join('\n');
    const found = parseDeb822(text);
    assert.deepEqual(
      found.map(({ uri, suite }) => `${uri} ${suite}`),
      [
        'http://a.example/debian bookworm',
        'http://a.example/debian bookworm-updates',
        'http://b.example/debian bookworm',
        'http://b.example/debian bookworm-updates',
      ],
    );
    assert.equal(found[0]?.signedBy, '/usr/share/keyrings/debian-archive-keyring.gpg');
  });

  test('a key written into the stanza is no path', () => {
    const text =
      'Types: deb\nURIs: http://a.example\nSuites: x\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n mQ';
    assert.deepEqual(parseDeb822(text), [
      { uri: 'http://a.example', suite: 'x', components: ['main'], trusted: false },
    ]);
  });
});

describe('the distribution’s own sources', () => {
  test('third parties, other releases and what is not HTTP are left out; the release itself comes first', () => {
    const text = [
      'deb http://deb.example/debian bookworm-updates main',
      'deb [signed-by=/etc/apt/keyrings/other.gpg] https://other.example/debian bookworm main',
      'deb https://docker.example/linux bookworm stable',
      'deb cdrom:[Debian]/ bookworm main',
      'deb http://deb.example/debian trixie main',
      'deb http://deb.example/debian bookworm main',
    ].join('\n');
    assert.deepEqual(
      distributionSources(parseSourcesList(text), bookworm).map(({ uri, suite }) => `${uri} ${suite}`),
      ['http://deb.example/debian bookworm', 'http://deb.example/debian bookworm-updates'],
    );
  });

  test('Ubuntu gets universe', () => {
    const release = { id: 'ubuntu', codename: 'noble' };
    const found = distributionSources(parseSourcesList('deb http://u.example/ubuntu noble main restricted'), release);
    assert.deepEqual(found[0]?.components, ['main', 'restricted', 'universe']);
  });

  test('are written as apt reads them', () => {
    const text = 'deb [signed-by=/k.gpg trusted=yes] http://a.example/debian bookworm main contrib\n';
    assert.equal(formatSources(parseSourcesList(text)), text);
  });
});

test('os-release tells the release', () => {
  const text = 'PRETTY_NAME="Ubuntu 24.04"\nVERSION_CODENAME=noble\nID=ubuntu\nUBUNTU_CODENAME=noble\n';
  assert.deepEqual(parseRelease(text), { id: 'ubuntu', codename: 'noble' });
});
