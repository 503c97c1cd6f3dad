import { createHash, timingSafeEqual } from 'node:crypto';
import type { ApiKey } from '../config.ts';

/** What a key of the settings is called where an id is needed; no secret. */
export const settingsKeyId = ({ sha256 }: ApiKey): string => sha256.slice(0, 16);

/** Who acts with a key of the settings. */
export const settingsPrincipal = ({ sha256 }: ApiKey): string => `key:${sha256.slice(0, 32)}`;

/** Compares with every key in constant time, so that neither a match nor its place shows in the time taken. */
export function keyFinder(keys: readonly ApiKey[]): (token: string | undefined) => ApiKey | undefined {
  const known = keys.map((key) => ({ hash: Buffer.from(key.sha256, 'hex'), key }));
  return (token) => {
    if (!token) return undefined;
    const hash = createHash('sha256').update(token).digest();
    return known.reduce<ApiKey | undefined>(
      (found, { hash: other, key }) => (timingSafeEqual(other, hash) ? key : found),
      undefined,
    );
  };
}
