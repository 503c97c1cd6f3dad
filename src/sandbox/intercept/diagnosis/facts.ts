import { readFileSync } from 'node:fs';
import { ownBash } from '../../../lib/own-bash.ts';
import type { Container } from '../../ports/runtime.ts';
import { detached } from '../../../lib/detached.ts';

/** How full a file system is; `files` counts inodes. */
export interface Fill {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly used: number;
  readonly filesFull: boolean;
}

/** What a look inside found; what could not be seen is absent or empty. */
export interface Facts {
  /** Processes that the kernel has killed for memory since the container started. */
  readonly oomKills: number;
  /** How often a process was refused since the container started. */
  readonly forksRefused: number;
  readonly largest?: { readonly pid: number; readonly name: string; readonly bytes: number };
  readonly fills: readonly Fill[];
  /** The biggest directories, the biggest first. */
  readonly directories: readonly { readonly path: string; readonly bytes: number }[];
}

const script = readFileSync(new URL('facts.sh', import.meta.url), 'utf8');
const deadline = 5000;
const longestAnswer = 16 * 1024;

/** Looks inside by one short process of the sandbox's own user; `undefined` when it can't be started or does not end. */
export async function lookInside(
  container: Pick<Container, 'exec'>,
  what: 'memory' | 'disk',
): Promise<Facts | undefined> {
  try {
    const signal = AbortSignal.timeout(deadline);
    const { argv, env } = ownBash('/opt/berth/bash', script, [what]);
    await using process = await container.exec(argv, { env, signal });
    detached(process.stderr.cancel().catch(() => {}));
    return parseFacts(await readText(process.stdout));
  } catch {
    return undefined;
  }
}

async function readText(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > longestAnswer) break;
  }
  return text.slice(0, longestAnswer);
}

/** Lines of `kind value …`; whatever else a hostile sandbox says is passed over. */
export function parseFacts(text: string): Facts {
  const rows = text.split('\n').map((line) => line.split('\t'));
  const of = (kind: string) => rows.filter((row) => row[0] === kind).map((row) => row.slice(1));
  const counter = (kind: string) => Math.max(0, ...of(kind).map(([value]) => whole(value)));
  const [[pid, kib, name] = []] = of('largest');
  return {
    oomKills: counter('oom_kill'),
    forksRefused: counter('pids_max'),
    ...(name !== undefined && { largest: { pid: whole(pid), name: printable(name), bytes: whole(kib) * 1024 } }),
    fills: of('fill').map(toFill),
    directories: of('directory').map(([kilobytes, path]) => ({
      path: printable(path),
      bytes: whole(kilobytes) * 1024,
    })),
  };
}

function toFill([path, size, used, files]: string[]): Fill {
  return { path: printable(path), size: whole(size) * 1024, used: whole(used) * 1024, filesFull: whole(files) >= 99 };
}

function whole(text = ''): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}

function printable(text = ''): string {
  return text.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?').slice(0, 100);
}
