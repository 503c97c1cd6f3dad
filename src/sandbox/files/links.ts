import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a link lets its holder do: read one file or directory, or put files into one directory. */
export type LinkKind = 'share' | 'upload';

const prefixes: Record<LinkKind, string> = { share: '/s', upload: '/u' };

/** Links that work without an account until they expire: who has one may do what it says, and nothing else. */
export class Links {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** The path of a URL, for an absolute path in a sandbox; `expires` in seconds since the epoch. */
  path(kind: LinkKind, handle: string, path: string, expires: number): string {
    const stamp = `${expires.toString(36)}-${this.#sign(kind, handle, path, expires)}`;
    const place = path.split('/').map((part) => encodeURIComponent(part));
    return `${prefixes[kind]}/${handle}/${stamp}${place.join('/')}`;
  }

  /** `stamp` is what stands behind the handle. Whoever made it up learns nothing of what exists. */
  check(kind: LinkKind, handle: string, stamp: string, path: string): 'good' | 'expired' | 'forged' {
    const [, time = '', signature = ''] = /^([0-9a-z]{1,9})-([\w-]{22})$/.exec(stamp) ?? [];
    const expires = Number.parseInt(time, 36);
    const right = this.#sign(kind, handle, path, expires);
    const same = signature.length === right.length && timingSafeEqual(Buffer.from(signature), Buffer.from(right));
    if (!same) return 'forged';
    return expires * 1000 > Date.now() ? 'good' : 'expired';
  }

  /** 128 bits of a MAC over all that the link says. */
  #sign(kind: LinkKind, handle: string, path: string, expires: number): string {
    const said = [kind, handle, String(expires), path].join('\0');
    return createHmac('sha256', this.#key).update(said).digest().subarray(0, 16).toString('base64url');
  }
}
