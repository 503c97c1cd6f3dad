import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Step } from './progress.ts';
import { run } from './run.ts';

/** Whether packages can be installed here without asking anybody. */
export function mayInstall(): boolean {
  return process.getuid?.() === 0 && hasProgram('apt-get');
}

export function hasProgram(name: string): boolean {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Installs Debian packages from the machine's own sources. */
export async function install(step: Step, packages: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const wait = ['-o', 'DPkg::Lock::Timeout=120'];
  await run(step, ['apt-get', 'update', ...wait], env);
  await run(step, ['apt-get', 'install', '-y', '--no-install-recommends', ...wait, ...packages], env);
}
