import { setTimeout as sleep } from 'node:timers/promises';
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  createRequestStateCodec,
  inputRequired,
  inputResponse,
  ResourceTemplate,
  type CallToolResult,
  type ContentBlock,
  type McpServer,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import type { McpExtra, RawTool } from '../../src/api/mcp/context.ts';

/** What the conformance suite expects a server to have, on the product's own HTTP, auth and session stack. */

const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';
const wav = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=';
const states = createRequestStateCodec({
  key: 'a key of at least thirty-two bytes, for tests',
  bind: (ctx) => ctx.mcpReq.method,
});

type Call = RawTool['call'];
const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const image: ContentBlock = { type: 'image', data: png, mimeType: 'image/png' };

function tool(name: string, description: string, call: Call, properties: Record<string, object> = {}): RawTool {
  const inputSchema = { type: 'object' as const, properties, required: Object.keys(properties) };
  return { listed: { name, description, inputSchema }, call };
}

function fixed(name: string, description: string, ...content: ContentBlock[]): RawTool {
  return tool(name, description, async () => ({ content }));
}

const embedded = (uri: string, mimeType: string, body: string): ContentBlock => ({
  type: 'resource',
  resource: { uri, mimeType, text: body },
});

const contentTools = [
  fixed('test_simple_text', 'Answers with text', { type: 'text', text: 'This is a simple text response for testing.' }),
  fixed('test_image_content', 'Answers with a picture', image),
  fixed('test_audio_content', 'Answers with a sound', { type: 'audio', data: wav, mimeType: 'audio/wav' }),
  fixed(
    'test_embedded_resource',
    'Answers with a resource',
    embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
  ),
  fixed(
    'test_multiple_content_types',
    'Answers with three kinds of content',
    { type: 'text', text: 'Multiple content types test:' },
    image,
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  ),
  tool('test_error_handling', 'Fails', async () => ({
    ...text('This tool intentionally returns an error for testing'),
    isError: true,
  })),
];

async function logThrice(_args: object, ctx: ServerContext): Promise<CallToolResult> {
  for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
    await ctx.mcpReq.log('info', line);
    await sleep(50);
  }
  return text('logged three times');
}

async function progressThrice(_args: object, ctx: ServerContext): Promise<CallToolResult> {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  for (const progress of [0, 50, 100]) {
    if (progressToken !== undefined)
      await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
    await sleep(50);
  }
  return text('progressed to 100');
}

const streamTools = [
  tool('test_tool_with_logging', 'Logs while it works', logThrice),
  tool('test_logging_tool', 'Logs while it works', logThrice),
  tool('test_tool_with_progress', 'Tells its progress', progressThrice),
];

/** By itself the SDK asks on the session's own stream, which the client may not have opened yet: the question is lost then. */
const onStreamOf = (ctx: ServerContext) => ({ relatedRequestId: ctx.mcpReq.id });

async function sample(args: Record<string, unknown>, ctx: ServerContext): Promise<CallToolResult> {
  const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: String(args['prompt']) } }];
  const { content } = await ctx.mcpReq.requestSampling({ messages, maxTokens: 100 }, onStreamOf(ctx));
  return text(`LLM response: ${!Array.isArray(content) && content.type === 'text' ? content.text : ''}`);
}

type FormSchema = { type: 'object'; properties: Record<string, never>; required?: string[] };

async function ask(ctx: ServerContext, message: string, schema: object, prefix: string): Promise<CallToolResult> {
  const requestedSchema = schema as FormSchema;
  const { action, content } = await ctx.mcpReq.elicitInput({ mode: 'form', message, requestedSchema }, onStreamOf(ctx));
  return text(`${prefix}: action=${action}, content=${JSON.stringify(content ?? {})}`);
}

const userSchema = {
  type: 'object',
  properties: {
    username: { type: 'string', description: "User's response" },
    email: { type: 'string', description: "User's email address" },
  },
  required: ['username', 'email'],
};

const defaultsSchema = {
  type: 'object',
  properties: {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  },
};

const titled = (title: string) =>
  [1, 2, 3].map((n) => ({ const: `value${n}`, title: `${['First', 'Second', 'Third'][n - 1]} ${title}` }));
const options = ['option1', 'option2', 'option3'];

const enumsSchema = {
  type: 'object',
  properties: {
    untitledSingle: { type: 'string', enum: options },
    titledSingle: { type: 'string', oneOf: titled('Option') },
    legacyEnum: {
      type: 'string',
      enum: ['opt1', 'opt2', 'opt3'],
      enumNames: ['Option One', 'Option Two', 'Option Three'],
    },
    untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
    titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
  },
};

const clientTools = [
  tool('test_sampling', 'Asks the client’s model', sample, { prompt: { type: 'string' } }),
  tool(
    'test_elicitation',
    'Asks the user',
    (args, ctx) => ask(ctx, String(args['message']), userSchema, 'User response'),
    { message: { type: 'string' } },
  ),
  tool('test_elicitation_sep1034_defaults', 'Asks with defaults', (_args, ctx) =>
    ask(ctx, 'Check the form', defaultsSchema, 'Elicitation completed'),
  ),
  tool('test_elicitation_sep1330_enums', 'Asks with choices', (_args, ctx) =>
    ask(ctx, 'Choose', enumsSchema, 'Elicitation completed'),
  ),
];

const nameSchema = z.object({ name: z.string() });
const okSchema = z.object({ ok: z.boolean() });
const colorSchema = z.object({ color: z.string() });
const askName = (message = 'What is your name?') => inputRequired.elicit({ message, requestedSchema: nameSchema });
const askOk = () => inputRequired.elicit({ message: 'Please confirm', requestedSchema: okSchema });
const askModel = (question: string, maxTokens: number) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: question } }], maxTokens });

const greet: Call = async (_args, ctx) => {
  const answer = acceptedContent(ctx.mcpReq.inputResponses, 'user_name', nameSchema);
  return answer ? text(`Hello, ${answer.name}!`) : inputRequired({ inputRequests: { user_name: askName() } });
};

const capital: Call = async (_args, ctx) => {
  const answer = inputResponse(ctx.mcpReq.inputResponses, 'capital_question');
  if (answer.kind === 'sampling') return text(JSON.stringify(answer.result.content));
  return inputRequired({ inputRequests: { capital_question: askModel('What is the capital of France?', 100) } });
};

const roots: Call = async (_args, ctx) => {
  const answer = inputResponse(ctx.mcpReq.inputResponses, 'client_roots');
  if (answer.kind === 'roots') return text(answer.roots.map((root) => root.uri).join('\n'));
  return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
};

const confirmed: Call = async (_args, ctx) => {
  const answer = acceptedContent(ctx.mcpReq.inputResponses, 'confirm', okSchema);
  if (answer && ctx.mcpReq.requestState<string>() === 'round 1') return text('state-ok');
  return inputRequired({ inputRequests: { confirm: askOk() }, requestState: await states.mint('round 1', ctx) });
};

const several: Call = async (_args, ctx) => {
  const responses = ctx.mcpReq.inputResponses;
  const keys = ['user_name', 'greeting', 'client_roots'];
  if (keys.every((key) => inputResponse(responses, key).kind !== 'missing')) return text('all answered');
  const inputRequests = {
    user_name: askName(),
    greeting: askModel('Generate a greeting', 50),
    client_roots: inputRequired.listRoots(),
  };
  return inputRequired({ inputRequests, requestState: await states.mint('round 1', ctx) });
};

const rounds: Call = async (_args, ctx) => {
  const state = ctx.mcpReq.requestState<{ round: number; name?: string }>();
  const name = acceptedContent(ctx.mcpReq.inputResponses, 'step1', nameSchema)?.name ?? state?.name;
  const color = acceptedContent(ctx.mcpReq.inputResponses, 'step2', colorSchema)?.color;
  if (state?.round === 2 && color) return text(`${name} likes ${color}`);
  if (state?.round === 1 && name !== undefined) {
    const step2 = inputRequired.elicit({
      message: 'Step 2: What is your favorite color?',
      requestedSchema: colorSchema,
    });
    return inputRequired({ inputRequests: { step2 }, requestState: await states.mint({ round: 2, name }, ctx) });
  }
  const step1 = askName('Step 1: What is your name?');
  return inputRequired({ inputRequests: { step1 }, requestState: await states.mint({ round: 1 }, ctx) });
};

/** Asks only for what the request's own capabilities allow. */
const capable: Call = async (_args, ctx) => {
  const declared = (ctx.mcpReq.envelope as Record<string, Record<string, unknown>> | undefined)?.[
    CLIENT_CAPABILITIES_META_KEY
  ];
  const inputRequests = {
    ...(declared?.['elicitation'] !== undefined && { ask: askOk() }),
    ...(declared?.['sampling'] !== undefined && { think: askModel('Think', 10) }),
  };
  return Object.keys(inputRequests).length === 0 ? text('nothing to ask with') : inputRequired({ inputRequests });
};

const inputTools = [
  tool('test_input_required_result_elicitation', 'Asks for a name first', greet),
  tool('test_input_required_result_sampling', 'Asks a model first', capital),
  tool('test_input_required_result_list_roots', 'Asks for roots first', roots),
  tool('test_input_required_result_request_state', 'Keeps state with the client', confirmed),
  tool('test_input_required_result_tampered_state', 'Keeps state with the client', confirmed),
  tool('test_input_required_result_multiple_inputs', 'Asks three things', several),
  tool('test_input_required_result_multi_round', 'Asks twice', rounds),
  tool('test_input_required_result_capabilities', 'Asks what the client can', capable),
  tool('test_streaming_elicitation', 'Asks for a name first', greet),
  tool('test_missing_capability', 'Needs sampling', capital),
];

function prompts(server: McpServer): void {
  const user = (content: ContentBlock) => ({ role: 'user' as const, content });
  const say = (line: string) => user({ type: 'text', text: line });
  server.registerPrompt('test_simple_prompt', { description: 'A simple prompt' }, async () => ({
    messages: [say('This is a simple prompt for testing.')],
  }));
  const argsSchema = z.object({
    arg1: z.string().describe('First test argument'),
    arg2: z.string().describe('Second test argument'),
  });
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'A prompt with arguments', argsSchema },
    async ({ arg1, arg2 }) => ({
      messages: [say(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
    }),
  );
  const resourceSchema = z.object({ resourceUri: z.string().describe('URI of the resource to embed') });
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'A prompt with a resource', argsSchema: resourceSchema },
    async ({ resourceUri }) => ({
      messages: [
        user(embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
        say('Please process the embedded resource above.'),
      ],
    }),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'A prompt with a picture' }, async () => ({
    messages: [user(image), say('Please analyze the image above.')],
  }));
  const contextSchema = z.object({ context: z.string() });
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'A prompt that asks first' },
    async (ctx) => {
      const answer = acceptedContent(ctx.mcpReq.inputResponses, 'user_context', contextSchema);
      if (answer) return { messages: [say(`Context: ${answer.context}`)] };
      const user_context = inputRequired.elicit({
        message: 'What context should the prompt use?',
        requestedSchema: contextSchema,
      });
      return inputRequired({ inputRequests: { user_context } });
    },
  );
}

function resources(server: McpServer): void {
  const plain = { description: 'A text', mimeType: 'text/plain' };
  server.registerResource('static-text', 'test://static-text', plain, async (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }],
  }));
  const picture = { description: 'A picture', mimeType: 'image/png' };
  server.registerResource('static-binary', 'test://static-binary', picture, async (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'image/png', blob: png }],
  }));
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  const json = { description: 'Data by id', mimeType: 'application/json' };
  server.registerResource('template', template, json, async (uri, { id }) => {
    const body = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` });
    return { contents: [{ uri: uri.href, mimeType: 'application/json', text: body }] };
  });
  server.server.setRequestHandler('resources/subscribe', () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', () => ({}));
}

export const conformanceExtra: McpExtra = {
  options: {
    requestState: { verify: (state, ctx) => states.verify(state, ctx) },
    inputRequired: { legacyShim: false },
  },
  tools: [...contentTools, ...streamTools, ...clientTools, ...inputTools],
  extend(server) {
    server.server.registerCapabilities({
      logging: {},
      completions: {},
      prompts: { listChanged: false },
      resources: { listChanged: false, subscribe: true },
    });
    prompts(server);
    resources(server);
    server.server.setRequestHandler('completion/complete', () => ({
      completion: { values: [], total: 0, hasMore: false },
    }));
  },
};
