type Fetch<Exchange> = (request: Request, exchange: Exchange) => Response | Promise<Response>;

/** Takes out what only the connection decides: a `keep-alive` from a library would override the client's `close`. */
export function withoutHops<Exchange>(fetch: Fetch<Exchange>): Fetch<Exchange> {
  return async (request, exchange) => {
    const response = await fetch(request, exchange);
    for (const name of ['connection', 'keep-alive']) if (response.headers.has(name)) response.headers.delete(name);
    return response;
  };
}
