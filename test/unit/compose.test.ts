import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';

const file = join(import.meta.dirname, '..', '..', 'docker-compose.yml');

test('compose pulls no image: nobody owns the names on a registry', () => {
  const { services } = parse(readFileSync(file, 'utf8'), { merge: true }) as {
    services: Record<string, { pull_policy?: string }>;
  };
  for (const [name, { pull_policy: policy }] of Object.entries(services)) assert.equal(policy, 'never', name);
});
