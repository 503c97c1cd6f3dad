import { z } from 'zod';
import { AppError } from '../../errors.ts';
import { describeIssue } from './issue.ts';
import { listedSchema, type ObjectSchema } from './listed-schema.ts';
import { tidyArguments } from './loose-arguments.ts';
import type { ToolCall } from './tool-call.ts';
import type { ToolResult } from './response.ts';

/** All four hints, always: a client that asks before it acts has nothing to guess. */
export interface Annotations {
  readonly readOnlyHint: boolean;
  readonly destructiveHint: boolean;
  readonly idempotentHint: boolean;
  readonly openWorldHint: boolean;
}

export interface ToolDefinition<Shape extends z.ZodRawShape> {
  readonly name: string;
  readonly title: string;
  /** Teaches a model when to use this tool and when another. */
  readonly description: string;
  /** Its fields become top-level properties; clients drop what is nested in a `oneOf` or behind a `$ref`. */
  readonly input: Shape;
  readonly annotations: Annotations;
  /** False for a tool that does not act on one sandbox. */
  readonly takesSandbox?: boolean;
  handle(args: z.output<z.ZodObject<Shape>>, call: ToolCall): Promise<ToolResult>;
}

/**
 * The tool as `tools/list` shows it. There is no `outputSchema`: a client that validates turns a result it did not
 * expect into an exception, and deployed ones hold errors, whose shape is another, to it as well.
 */
export interface ListedTool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly inputSchema: ObjectSchema;
  readonly annotations: Annotations;
}

export interface Tool {
  readonly name: string;
  readonly listed: ListedTool;
  readonly handle: (args: unknown, call: ToolCall) => Promise<ToolResult>;
  /** The checked arguments. Throws `invalid_argument` with one sentence. */
  readonly parse: (args: unknown) => Record<string, unknown>;
}

const sandbox = z
  .string()
  .min(1)
  .max(128)
  .optional()
  .describe('Handle of a sandbox made by create_sandbox. Leave out to use your own.');

/** A tool as data. Schemas are built here, once, at module scope. */
export function defineTool<Shape extends z.ZodRawShape>(definition: ToolDefinition<Shape>): Tool {
  const { name, title, description, annotations } = definition;
  const shape = definition.takesSandbox === false ? definition.input : { ...definition.input, sandbox };
  const schema = z.strictObject(shape);
  const inputSchema = listedSchema(schema);
  return {
    name,
    listed: { name, title, description, inputSchema, annotations },
    parse: (args) => parseArguments(name, schema, tidyArguments(args ?? {}, inputSchema)),
    handle: (args, call) => definition.handle(args as z.output<z.ZodObject<Shape>>, call),
  };
}

function parseArguments(tool: string, schema: z.ZodObject, args: unknown): Record<string, unknown> {
  const parsed = schema.safeParse(args, { reportInput: true });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const message = issue
    ? describeIssue(tool, Object.keys(schema.shape), issue)
    : `The arguments of ${tool} are invalid.`;
  throw new AppError('invalid_argument', message);
}
