import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { PreviewRow, State } from '../../state/state.ts';

/** Where previews are kept: `State` is one. */
export type PreviewStore = Pick<State, 'savePreview' | 'preview' | 'dropPreviews'>;

export type PreviewAccess = PreviewRow['access'];

export interface NewPreview {
  readonly handle: string;
  readonly port: number;
  readonly access: PreviewAccess;
  /** What the program sees as Host: its own name, or the one that the visitor asked for. */
  readonly host: 'localhost' | 'kept';
  /** Milliseconds since the epoch. */
  readonly expires: number;
  readonly madeBy?: string | undefined;
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** Previews that work until they expire, until the key with which they were made ends, or until they are revoked. */
export class PreviewLinks {
  readonly #key: Uint8Array;
  readonly #store: PreviewStore;
  readonly #isGoodKey: (id: string) => boolean;

  constructor(key: Uint8Array, store: PreviewStore, isGoodKey: (id: string) => boolean) {
    this.#key = key;
    this.#store = store;
    this.#isGoodKey = isGoodKey;
  }

  /** A preview with a label of its own: 130 random bits, fit for a host name. */
  make({ madeBy, ...preview }: NewPreview): PreviewRow {
    const label = Array.from(randomBytes(26), (byte) => alphabet[byte & 31]).join('');
    const row = { ...preview, label, madeBy: madeBy ?? null };
    this.#store.savePreview(row);
    return row;
  }

  /** The preview of a label while it is good. */
  find(label: string): PreviewRow | undefined {
    const row = isLabel(label) ? this.#store.preview(label) : undefined;
    if (!row || row.expires <= Date.now()) return undefined;
    return row.madeBy === null || this.#isGoodKey(row.madeBy) ? row : undefined;
  }

  /** Ends every preview of a sandbox, or of one of its ports. */
  revoke(handle: string, port?: number): void {
    this.#store.dropPreviews(handle, port);
  }

  /** What a link carries, and, with another purpose, what a visitor's cookie does: neither stands for the other. */
  token({ label, expires }: PreviewRow, purpose: 'link' | 'cookie'): string {
    const said = ['preview', purpose, label, String(expires)].join('\0');
    return createHmac('sha256', this.#key).update(said).digest().subarray(0, 16).toString('base64url');
  }

  isToken(row: PreviewRow, purpose: 'link' | 'cookie', token: string): boolean {
    const [given, right] = [Buffer.from(token), Buffer.from(this.token(row, purpose))];
    return given.length === right.length && timingSafeEqual(given, right);
  }
}

export function isLabel(text: string): boolean {
  return /^[a-z2-7]{26}$/.test(text);
}
