type Json = Record<string, unknown>;

/**
 * A message as it is meant: clients that write every field send `null`, or an empty list for `params`, for what they leave
 * out. Such fields are dropped; anything else stays for the check.
 */
export function repaired(body: unknown): unknown {
  if (Array.isArray(body)) return body.map((message) => repaired(message));
  if (!isObject(body) || typeof body['method'] !== 'string' || !('params' in body)) return body;
  const { params, ...rest } = body;
  if (params === null || (Array.isArray(params) && params.length === 0)) return rest;
  return isObject(params) ? { ...rest, params: withoutNulls(params) } : body;
}

/** Only fields of the protocol: what is inside a call's arguments is the tool's. */
function withoutNulls(params: Json): Json {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== null));
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
