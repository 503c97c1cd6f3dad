import type { Container } from '../../ports/runtime.ts';
import { detached } from '../../../lib/detached.ts';

/** `$1` is the process whose descriptors 1 and 9 the streams are; says which of the two others hold, too. */
const script = `
for process in /proc/[0-9]*; do
  [ "$process" = "/proc/$1" ] && continue
  for fd in "$process"/fd/*; do
    [ "$fd" -ef "/proc/$1/fd/1" ] && echo 1
    [ "$fd" -ef "/proc/$1/fd/9" ] && echo 9
  done
done 2>/dev/null
exit 0`;

/** Whether processes other than the keeper hold its stdout, or its stderr. Rejects `sandbox_lost`. */
export async function heldByOthers(container: Container, keeper: number): Promise<boolean> {
  await using process = await container.exec(['/bin/sh', '-c', script, 'sh', String(keeper)], { cwd: '/' });
  detached(process.stderr.cancel().catch(() => {}));
  for await (const _ of process.stdout) return true;
  return false;
}
