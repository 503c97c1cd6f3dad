import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ruleset } from '../../src/runtimes/docker/open-network.ts';

const reject = '-j REJECT --reject-with icmp-admin-prohibited';

test('the rules of the open network refuse other sandboxes, the host, and whatever is no public address', () => {
  const refused =
    '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/4 240.0.0.0/4';
  assert.deepEqual(ruleset(['10.0.0.2']).split('\n'), [
    '*filter',
    ':BERTH-OUT - [0:0]',
    ':BERTH-IN - [0:0]',
    `-A BERTH-OUT -o berth0 ${reject}`,
    '-A BERTH-OUT -d 10.0.0.2/32 -p udp --dport 53 -j RETURN',
    '-A BERTH-OUT -d 10.0.0.2/32 -p tcp --dport 53 -j RETURN',
    ...refused.split(' ').map((range) => `-A BERTH-OUT -d ${range} ${reject}`),
    '-A BERTH-OUT -j RETURN',
    `-A BERTH-IN ${reject}`,
    'COMMIT',
    '',
  ]);
});
