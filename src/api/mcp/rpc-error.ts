/** A JSON-RPC error outside of any request's result, with its HTTP status. */
export function rpcErrorResponse(
  status: number,
  code: number,
  message: string,
  data?: Readonly<Record<string, unknown>>,
): Response {
  const error = { code, message, ...(data && { data }) };
  return Response.json({ jsonrpc: '2.0', error, id: null }, { status });
}
