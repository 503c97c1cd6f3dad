import type { Annotations } from './define-tool.ts';

/** Hints of a tool that changes nothing. */
export function reads(hints: { idempotent?: boolean } = {}): Annotations {
  return { readOnlyHint: true, destructiveHint: false, idempotentHint: hints.idempotent ?? true, openWorldHint: false };
}

/** Hints of a tool that changes something in the sandbox. `openWorld`: it may reach beyond the sandbox. */
export function changes(hints: { destructive?: boolean; idempotent?: boolean; openWorld?: boolean } = {}): Annotations {
  const { destructive = false, idempotent = false, openWorld = false } = hints;
  return { readOnlyHint: false, destructiveHint: destructive, idempotentHint: idempotent, openWorldHint: openWorld };
}
