import { grouped, oneLine } from '../../lib/text.ts';
import type { ToolCall } from './tool-call.ts';

/** Reports a command's output to a watching client: bytes so far and the last line, at most once a second. */
export function outputProgress(call: ToolCall): (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void {
  let total = 0;
  let told = -Infinity;
  const decoder = new TextDecoder();
  return (_stream, bytes) => {
    total += bytes.length;
    if (performance.now() - told < 1000) return;
    told = performance.now();
    const last = decoder.decode(bytes.subarray(-400)).trimEnd().split('\n').at(-1) ?? '';
    call.report(total, oneLine(last) || `${grouped(total)} bytes of output`);
  };
}
