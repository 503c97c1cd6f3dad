// Compiles the package as npm publishes it: below node_modules, Node strips no types.
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
const dist = join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
const args = ['--project', 'config/tsconfig.build.json'];
const { status } = spawnSync(join(root, 'node_modules/.bin/tsc'), args, { cwd: root, stdio: 'inherit' });
cpSync(join(root, 'src'), dist, { recursive: true, filter: (path) => !/\.(ts|mjs)$/.test(path) });
process.exit(status ?? 1);
