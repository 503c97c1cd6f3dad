const [kind, ...numbers] =
  process.argv[2] === 'faults' ? process.argv.slice(2) : ['restarts', ...process.argv.slice(2)];

/** `restarts`: many chats, and a server that is killed. `faults`: few chats, and everything around them fails. */
export const isFaults = kind === 'faults';
export const minutes = Number(numbers[0] ?? (isFaults ? 60 : 30));
export const seed = Number(numbers[1] ?? Date.now() % 1_000_000);

if (!(minutes > 0 && Number.isInteger(seed))) {
  console.error(`soak: expected [faults] [MINUTES [SEED]], got "${process.argv.slice(2).join(' ')}"`);
  process.exit(2);
}

/** From 0 to below 1, the same in each run with the same seed. */
export const random = mulberry(seed);

/** A whole number from `from` to `to`. */
export const between = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1));

/** One of some. */
export function pick<T>(some: readonly T[]): T {
  const one = some[between(0, some.length - 1)];
  if (one === undefined) throw new TypeError('there is nothing to pick from');
  return one;
}

function mulberry(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
