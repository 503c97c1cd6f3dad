const redacted = '[redacted]';

/** Takes secrets out of a text that comes in pieces, also where a piece ends within one. */
export class Redactor {
  readonly #secrets = new Set<string>();
  /** What may be the beginning of a secret. */
  #held = '';

  add(secrets: Iterable<string>): void {
    for (const secret of secrets) if (secret !== '') this.#secrets.add(secret);
  }

  /** What of the text so far can be shown. */
  push(text: string): string {
    const clean = this.#clean(this.#held + text);
    const kept = this.#beginning(clean);
    this.#held = clean.slice(clean.length - kept);
    return clean.slice(0, clean.length - kept);
  }

  /** The rest, when nothing more comes. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  #clean(text: string): string {
    return [...this.#secrets].reduce((clean, secret) => clean.replaceAll(secret, redacted), text);
  }

  /** How many characters at the end may begin a secret. */
  #beginning(text: string): number {
    return Math.max(0, ...[...this.#secrets].map((secret) => overlap(text, secret)));
  }
}

/** The longest end of the text that is a beginning, and not the whole, of the secret. */
function overlap(text: string, secret: string): number {
  for (let size = Math.min(text.length, secret.length - 1); size > 0; size -= 1)
    if (text.endsWith(secret.slice(0, size))) return size;
  return 0;
}
