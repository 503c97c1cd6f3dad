import { createHash } from 'node:crypto';

/** A request's header by name, in any case; absent and empty are the same to whoever asks. */
export type HeaderOf = (name: string) => string | undefined;

/** A person, as the application in front knows him. */
export interface User {
  readonly id: string;
  /** Names or ids, as they came. */
  readonly groups: readonly string[];
}

/** A plain short id as it is; any other as its hash, which no plain id can look like. */
export function boundedId(id: string): string {
  return /^[\w.@+-]{1,128}$/.test(id) ? id : `~${createHash('sha256').update(id).digest('hex')}`;
}

/** A header's list: separated by commas, what is not ASCII percent-encoded. */
export function listOf(header: string | undefined): string[] {
  const items = (header ?? '').slice(0, 8192).split(',');
  return items.map((item) => decoded(item.trim())).filter((item) => item !== '');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
