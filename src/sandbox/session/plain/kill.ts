import type { Container } from '../../ports/runtime.ts';
import type { SignalName } from '../wire/request.ts';

/** A signal for a process alone, or for what is below it. */
export interface Strike {
  readonly name: SignalName;
  readonly scope: 'self' | 'below';
}

export interface Target {
  readonly pid: number;
  /** Children of it that are left out, with all that is below them. */
  readonly spare?: readonly number[];
  /** Only these children, with all that is below them. */
  readonly only?: readonly number[];
}

/**
 * Walks /proc by the shell's own means, as an image may lack every tool. A process that stops being below another (a
 * daemon) is not found.
 */
const script = `
pid=$1 spare=" $2 " only=$3; shift 3
below() {
  all= level=" $pid "
  while [ "$level" != ' ' ]; do
    next=' '
    for f in /proc/[0-9]*/stat; do
      read -r line 2>/dev/null <"$f" || continue
      child=\${line%% *}; set -- \${line##*) }
      case $level in *" $2 "*) ;; *) continue ;; esac
      case $spare in *" $child "*) continue ;; esac
      if [ "$level" = " $pid " ] && [ -n "$only" ]; then case " $only " in *" $child "*) ;; *) continue ;; esac; fi
      [ "$child" = $$ ] || next="$next$child "
    done
    all="$all$next" level=$next
  done
}
while [ $# -gt 0 ]; do
  if [ "$2" = self ]; then kill -s "$1" "$pid"; else
    signal=$1; below; [ -z "\${all# }" ] || kill -s "$signal" $all
  fi
  shift 2
done 2>/dev/null
exit 0`;

/** Sends the signals one after another. Rejects `sandbox_lost`. */
export async function strike(container: Container, target: Target, strikes: readonly Strike[]): Promise<void> {
  const { pid, spare = [], only = [] } = target;
  const flat = strikes.flatMap(({ name, scope }) => [name, scope]);
  const argv = ['/bin/sh', '-c', script, 'sh', String(pid), spare.join(' '), only.join(' '), ...flat];
  await using process = await container.exec(argv, { cwd: '/' });
  await Promise.all([process.stdout.cancel(), process.stderr.cancel(), process.wait()]);
}
