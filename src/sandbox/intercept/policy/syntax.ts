import { parse as parseStrictly } from 'sh-syntax';
import { forEachChild, parse, type Script, type SyntaxNode } from 'unbash';

/** A script that does not parse; the message says why, in the parser's words. */
export class Unparsable extends Error {}

/** Characters. A longer script is refused unread. */
const longest = 1024 * 1024;

/**
 * The script's tree. Two parsers must agree that it is bash: sh-syntax (mvdan/sh), which forgives nothing but whose tree
 * ends at statements, and unbash, whose tree goes down to each word. Rejects with `Unparsable`.
 */
export async function parseScript(text: string): Promise<Script> {
  if (text.length > longest) throw new Unparsable(`it is longer than ${longest} characters`);
  if (text.includes('\0')) throw new Unparsable('it has a NUL character');
  await parseWithShSyntax(text);
  const script = parse(text);
  const fault = firstFault(script);
  if (fault !== undefined) throw new Unparsable(fault);
  return script;
}

async function parseWithShSyntax(text: string): Promise<void> {
  try {
    await parseStrictly(text);
  } catch (error) {
    throw new Unparsable(reason(error), { cause: error });
  }
}

function reason(error: unknown): string {
  const { Text: text, Pos: at } = error as { Text?: string; Pos?: { Line: number; Col: number } };
  if (!text || !at) return 'it nests too deep or is damaged';
  return `line ${at.Line}, column ${at.Col}: ${text.slice(0, 200)}`;
}

/** Substitutions are scripts of their own, with errors of their own; one that was not read at all is a fault, too. */
function firstFault(node: SyntaxNode): string | undefined {
  if (node.type === 'Script' && node.errors?.[0]) return node.errors[0].message;
  if (isSubstitution(node) && node.script === undefined) return 'it has a substitution that cannot be read';
  let fault: string | undefined;
  forEachChild(node, (child) => {
    fault ??= firstFault(child);
  });
  return fault;
}

function isSubstitution(node: SyntaxNode) {
  return (
    node.type === 'CommandExpansion' ||
    node.type === 'ProcessSubstitution' ||
    node.type === 'ArithmeticCommandExpansion'
  );
}
