import type { Writable } from 'node:stream';
import { AppError } from '../../errors.ts';

/** A web stream into a process. Each write waits until the process's side took it; closing ends its stdin only. */
export function inlet(target: Writable): WritableStream<Uint8Array> {
  return new WritableStream({
    write: (bytes) => settled(target, (done) => target.write(bytes, done)),
    close: () => settled(target, (done) => target.end(done)),
    abort: () => void target.end(),
  });
}

type Done = (error?: Error | null) => void;

/** Also settles when the target is destroyed, which leaves the callback of a write that waits for room uncalled. */
function settled(target: Writable, start: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = () => reject(new AppError('sandbox_lost', 'The process takes no more input.'));
    if (target.destroyed) return gone();
    target.once('close', gone);
    start((error) => {
      target.off('close', gone);
      if (error) gone();
      else resolve();
    });
  });
}
