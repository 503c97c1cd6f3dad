import type { Operation } from './operations.ts';

/** The OpenAPI document from which Open WebUI makes the model's tools. */
export function openApi(operations: readonly Operation[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) (paths[operation.path] ??= {})[operation.method] = described(operation);
  return {
    openapi: '3.1.0',
    info: { title: 'Berth', description: 'A computer for each chat.', version },
    paths,
    components: { securitySchemes: { HTTPBearer: { type: 'http', scheme: 'bearer' } } },
  };
}

function described({ id, path, description, query = {}, body, required = [] }: Operation): object {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) =>
    parameter('path', name, { type: 'string' }, true),
  );
  const inQuery = Object.entries(query).map(([name, field]) =>
    parameter('query', name, field, required.includes(name)),
  );
  const schema = body && { type: 'object', properties: body, required };
  return {
    operationId: id,
    summary: description.split(/[.:;] /)[0],
    description,
    parameters: [...inPath, ...inQuery],
    ...(schema && { requestBody: { required: true, content: { 'application/json': { schema } } } }),
    responses: { 200: { description: 'Done', content: { 'application/json': { schema: {} } } } },
    security: [{ HTTPBearer: [] }],
  };
}

function parameter(where: 'path' | 'query', name: string, schema: object, required: boolean): object {
  return { name, in: where, required, schema, ...('description' in schema && { description: schema.description }) };
}
