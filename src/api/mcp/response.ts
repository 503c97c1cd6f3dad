import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server';
import type { AppError } from '../../errors.ts';
import { shownFields } from './structured.ts';
import { grouped, lines, readable } from '../../lib/text.ts';

/** What a tool's handler gives back; `respond` makes the wire result of it. */
export interface ToolResult {
  /** For programs, and for clients that show nothing else: see `shownFields`. */
  readonly structured: Record<string, unknown>;
  /** For a reader who gets nothing else. */
  readonly text?: string;
  /** The parts of the last line: `[exit 0 · 0.05 s · /workspace]`. */
  readonly status: readonly string[];
  /** Sentences between the text and the last line. */
  readonly notes?: readonly string[];
  /** Images and resources, after the text. */
  readonly content?: readonly ContentBlock[];
  /** Keeps terminal escapes in the text and the structured form. */
  readonly raw?: boolean;
  /** A word for the metrics; absent = `ok`. */
  readonly outcome?: string;
}

/** Characters of text a result may hold. */
const maxText = 4 * 1024 * 1024;

/** The one exit for results: bounds, redacts and strips what the model sees. `secrets` are strings no result may show. */
export function respond(result: ToolResult, lost: readonly string[], secrets: readonly string[]): CallToolResult {
  const notes = [...lost, ...(result.notes ?? [])];
  const told = notes.map((note) => `[note: ${note}]`);
  const shown = result.raw ? (result.text ?? '') : readable(result.text ?? '');
  const text = lines(bound(shown, maxText), readable(lines(...told)), statusLine(result.status));
  const fields = lost.length > 0 ? { ...result.structured, lost } : result.structured;
  const structuredContent = shownFields(fields, notes, result.raw ?? false);
  return redact({ content: [{ type: 'text', text }, ...(result.content ?? [])], structuredContent }, secrets);
}

/** Errors carry their stable `code` for programs and in the last line. */
export function respondError(error: AppError, secrets: readonly string[]): CallToolResult {
  const text = lines(readable(error.message), statusLine(['error', error.code]));
  const structuredContent = { code: error.code, message: error.message, ...error.data };
  return redact({ content: [{ type: 'text', text }], structuredContent, isError: true }, secrets);
}

/** Never JSON: a client that tries to parse text as JSON fails and keeps the text. */
function statusLine(parts: readonly string[]): string {
  return `[${parts.map((part) => readable(part).replace(/[\r\n]+/g, ' ')).join(' · ')}]`;
}

function bound(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  const omitted = grouped(text.length - 2 * half);
  return lines(text.slice(0, half), `[… ${omitted} characters omitted …]`, text.slice(-half));
}

function redact(result: CallToolResult, secrets: readonly string[]): CallToolResult {
  if (secrets.length === 0) return result;
  const json = JSON.stringify(result);
  const escaped = secrets
    .map((secret) => JSON.stringify(secret).slice(1, -1))
    .filter((secret) => json.includes(secret));
  if (escaped.length === 0) return result;
  const clean = escaped.reduce((text, secret) => text.replaceAll(secret, '[redacted]'), json);
  return JSON.parse(clean) as CallToolResult;
}
