/** A request the transports take, and how its answer is given to a client that accepts less than they ask for. */
export interface Accepted {
  readonly request: Request;
  readonly shaped: (response: Response) => Promise<Response>;
}

const json = 'application/json';
const stream = 'text/event-stream';

/**
 * The transports want clients that accept JSON and event streams, in so many words. Here a wildcard means both; a POST
 * that accepts only one of them is answered in that form, and one that names neither is left to the transport's refusal.
 */
export function negotiated(request: Request): Accepted {
  const takes = accepts(request.headers.get('accept'));
  if (!takes.json && !takes.stream) return { request, shaped: same };
  if (request.method === 'GET') return { request: takes.stream ? accepting(request, stream) : request, shaped: same };
  if (request.method !== 'POST') return { request, shaped: same };
  const shaped = takes.json ? (takes.stream ? same : asJson) : asStream;
  return { request: accepting(request, `${json}, ${stream}`), shaped };
}

const same = (response: Response) => Promise.resolve(response);

function accepts(header: string | null): { json: boolean; stream: boolean } {
  const types = (header?.trim() || '*/*').split(',').map(typeIn);
  const takes = (type: string) => types.some((range) => range === '*/*' || range === type || range === wild(type));
  return { json: takes(json), stream: takes(stream) };
}

/** A media range without its parameters; one of quality zero is none. */
function typeIn(range: string): string {
  const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
  return parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter)) ? '' : type;
}

function wild(type: string): string {
  return `${type.split('/')[0]}/*`;
}

/** Its body has been read. */
function accepting(request: Request, accept: string): Request {
  const headers = new Headers(request.headers);
  headers.set('accept', accept);
  return new Request(request.url, { method: request.method, headers, signal: request.signal });
}

/** The stream's answers alone: notifications have no place in JSON. */
async function asJson(response: Response): Promise<Response> {
  if (!isStream(response)) return response;
  const answers = messagesIn(await response.text()).filter((message) => !('method' in message));
  const headers = withoutStream(response.headers, json);
  return new Response(JSON.stringify(answers.length === 1 ? answers[0] : answers), { headers });
}

async function asStream(response: Response): Promise<Response> {
  if (!response.ok || !response.headers.get('content-type')?.startsWith(json)) return response;
  const headers = withoutStream(response.headers, stream);
  headers.set('cache-control', 'no-cache, no-transform');
  return new Response(`event: message\ndata: ${await response.text()}\n\n`, { headers });
}

function isStream(response: Response): boolean {
  return response.headers.get('content-type')?.startsWith(stream) ?? false;
}

function withoutStream(sent: Headers, type: string): Headers {
  const headers = new Headers(sent);
  headers.set('content-type', type);
  for (const name of ['content-length', 'connection', 'x-accel-buffering']) headers.delete(name);
  return headers;
}

function messagesIn(text: string): Record<string, unknown>[] {
  const lines = text.split('\n').filter((line) => line.startsWith('data: {'));
  return lines.map((line) => JSON.parse(line.slice('data: '.length)) as Record<string, unknown>);
}
