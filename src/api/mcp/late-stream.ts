import { detached } from '../../lib/detached.ts';
/** Milliseconds within which an answer goes out as it is, with its own HTTP status. */
const grace = 50;

/**
 * The answer itself if it comes at once; else an event stream that carries keepalive comments until it comes and then
 * brings it. A client that gives up on a silent connection thus never sees one.
 */
export async function orStream(answer: Promise<Response>, keepaliveMs: number): Promise<Response> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, grace, undefined);
  const early = await Promise.race([answer, late]);
  clearTimeout(timer);
  return early ?? streamed(answer, keepaliveMs);
}

function streamed(answer: Promise<Response>, keepaliveMs: number): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const comment = new TextEncoder().encode(': keepalive\n\n');
  const timer = setInterval(() => detached(writer.write(comment).catch(() => {})), keepaliveMs).unref();
  detached(deliver(answer, writer).finally(() => clearInterval(timer)));
  const headers = {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  };
  return new Response(readable, { headers });
}

/** Whoever reads may be gone; that ends the call through the request's signal, not here. */
async function deliver(answer: Promise<Response>, writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
  try {
    const response = await answer;
    if (response.headers.get('content-type')?.startsWith('text/event-stream')) await copy(response, writer);
    else await writer.write(new TextEncoder().encode(`event: message\ndata: ${await response.text()}\n\n`));
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
  }
}

async function copy(response: Response, writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
  for await (const chunk of response.body ?? []) await writer.write(chunk);
}
