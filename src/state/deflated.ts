import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { maxSnapshot } from '../sandbox/session/wire/frame.ts';

/** Bytes of a kept snapshot; a shell without large data has a few thousand. */
const maxKept = 256 * 1024;

/** Undefined: too large to keep. */
export function deflated(snapshot: Uint8Array): Uint8Array | undefined {
  if (snapshot.length > maxSnapshot) return undefined;
  try {
    return deflateRawSync(snapshot, { level: 1, maxOutputLength: maxKept });
  } catch {
    return undefined;
  }
}

/** Undefined for what is damaged. */
export function inflated(kept: Uint8Array): Uint8Array | undefined {
  try {
    return inflateRawSync(kept, { maxOutputLength: maxSnapshot });
  } catch {
    return undefined;
  }
}
