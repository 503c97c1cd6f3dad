import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a link lets its holder do: read one file or directory, or put files into one directory. */
export type LinkKind = 'share' | 'upload';

const prefixes: Record<LinkKind, string> = { share: '/s', upload: '/u' };

/** What a link says. */
export interface LinkTerms {
  readonly kind: LinkKind;
  readonly handle: string;
  /** An absolute path in the sandbox. */
  readonly path: string;
  /** Seconds since the epoch. */
  readonly expires: number;
  /** The id of the API key with which it was made, where one was; it ends with that key. */
  readonly madeBy?: string | undefined;
}

/**
 * Links that work without an account until they expire, or until the key they were made with ends: who has one may do what
 * it says, and nothing else.
 */
export class Links {
  readonly #key: Uint8Array;
  readonly #isGoodKey: (id: string) => boolean;

  constructor(key: Uint8Array, isGoodKey: (id: string) => boolean) {
    this.#key = key;
    this.#isGoodKey = isGoodKey;
  }

  /** The path of a URL. */
  path(terms: LinkTerms): string {
    const { kind, handle, path, expires, madeBy } = terms;
    const maker = madeBy === undefined ? '' : `.${madeBy}`;
    const stamp = `${expires.toString(36)}-${this.#sign(terms)}${maker}`;
    const place = path.split('/').map((part) => encodeURIComponent(part));
    return `${prefixes[kind]}/${handle}/${stamp}${place.join('/')}`;
  }

  /** `stamp` is what stands behind the handle. Whoever made it up learns nothing of what exists. */
  check(kind: LinkKind, handle: string, stamp: string, path: string): 'good' | 'expired' | 'forged' {
    const [, time = '', signature = '', madeBy] = /^([0-9a-z]{1,9})-([\w-]{22})(?:\.(\w{1,32}))?$/.exec(stamp) ?? [];
    const expires = Number.parseInt(time, 36);
    const right = this.#sign({ kind, handle, path, expires, madeBy });
    const same = signature.length === right.length && timingSafeEqual(Buffer.from(signature), Buffer.from(right));
    if (!same || (madeBy !== undefined && !this.#isGoodKey(madeBy))) return 'forged';
    return expires * 1000 > Date.now() ? 'good' : 'expired';
  }

  /** 128 bits of a MAC over all that the link says. */
  #sign({ kind, handle, path, expires, madeBy = '' }: LinkTerms): string {
    const said = [kind, handle, String(expires), madeBy, path].join('\0');
    return createHmac('sha256', this.#key).update(said).digest().subarray(0, 16).toString('base64url');
  }
}
