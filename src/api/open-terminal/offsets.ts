/**
 * One number that says how far a reader is in a command's two streams. It keeps each position modulo a size that is above
 * what is held of a stream, so that a position is known again from how much has been written.
 */
const sizes = { out: 2 ** 29, err: 2 ** 24 };

export interface Positions {
  readonly out: number;
  readonly err: number;
}

export function pack(out: number, err: number): number {
  return (out % sizes.out) * sizes.err + (err % sizes.err);
}

/** The newest positions that the offset can mean, where so much has been written. */
export function unpack(offset: number, written: Positions): Positions {
  return {
    out: newest(Math.floor(offset / sizes.err) % sizes.out, written.out, sizes.out),
    err: newest(offset % sizes.err, written.err, sizes.err),
  };
}

/** A position that has not been written yet stands for itself. */
function newest(rest: number, written: number, size: number): number {
  return rest + Math.max(0, Math.floor((written - rest) / size)) * size;
}
