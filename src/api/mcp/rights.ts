import { AppError } from '../../errors.ts';
import type { Principal } from '../../identity/key.ts';

/** What a listed tool says of itself. */
export interface Hinted {
  readonly name: string;
  readonly annotations?: { readonly readOnlyHint?: boolean };
}

/** Whether the caller's key is good for the tool: one that may only read calls what changes nothing. */
export function mayCall({ scopes }: Principal, { annotations }: Hinted): boolean {
  if (!scopes || scopes.includes('tools')) return true;
  return scopes.includes('read') && annotations?.readOnlyHint === true;
}

export function mayOnlyLook(tool: string): AppError {
  return new AppError(
    'forbidden',
    `This key has the scope read without tools: it may look, and ${tool} changes things.`,
  );
}
