import { labels } from '../runtimes/docker/spec.ts';
import type { Belongings } from './belongings.ts';
import { acceptedExec, acceptedExecStart, acceptedNetwork, acceptedVolume } from './bodies.ts';
import { acceptedContainer } from './create.ts';
import { containerName } from './names.ts';
import type { GuardPolicy } from './policy.ts';
import { ownFilters, type Query, readQuery, writeQuery } from './query.ts';
import { Refusal } from './refusal.ts';

/** A request as far as it has been read. */
export interface Asked {
  /** The part of the path that names something. */
  readonly name: string;
  readonly query: Query;
  /** Absent where the route takes none. */
  readonly body: unknown;
  readonly policy: GuardPolicy;
  readonly belongings: Belongings;
}

/** What is sent on: a path without the version and the query, and a body that was made here. */
export interface Passed {
  readonly path: string;
  readonly query?: Query;
  readonly body?: object;
  /** What the client gets of a JSON answer; absent = the answer as it is. */
  readonly answer?: (json: unknown) => unknown;
}

export interface Route {
  readonly method: string;
  readonly pattern: RegExp;
  /** Keys that the query may have; the client library repeats bodies in it, which goes no further. */
  readonly query: readonly string[];
  /** Most bytes of the body. */
  readonly longest: number;
  /** The connection becomes a stream. */
  readonly upgrade?: true;
  readonly pass: (asked: Asked) => Passed | Promise<Passed>;
}

const MiB = 1024 ** 2;
const little = 64 * 1024;

const id = '([A-Za-z0-9][\\w.-]{0,127})';

/** Everything that a server needs of its engine. What is not here is refused. */
export const routes: readonly Route[] = [
  read('/_ping', { pass: () => ({ path: '/_ping' }) }),
  read('/version', { pass: () => ({ path: '/version' }) }),
  read('/info', { pass: () => ({ path: '/info' }) }),
  read('/events', { query: ['filters'], pass: ({ query }) => ({ path: '/events', query: events(query) }) }),
  read('/system/df', {
    query: ['type'],
    pass: () => ({ path: '/system/df', query: { type: 'volume' }, answer: ownUse }),
  }),
  read('/images/([\\w./:@-]{1,300})/json', { pass: image }),

  read('/containers/json', {
    query: ['all', 'filters'],
    pass: ({ query }) => ({ path: '/containers/json', query: own(query) }),
  }),
  write('POST', '/containers/create', { query: ['name'], longest: MiB, pass: create }),
  read(`/containers/${id}/json`, { pass: on('json') }),
  read(`/containers/${id}/stats`, {
    query: ['stream', 'one-shot'],
    pass: on('stats', { stream: 'false', 'one-shot': 'true' }),
  }),
  write('POST', `/containers/${id}/start`, { pass: start }),
  write('POST', `/containers/${id}/stop`, { query: ['t'], pass: on('stop') }),
  write('POST', `/containers/${id}/kill`, { pass: on('kill') }),
  write('POST', `/containers/${id}/pause`, { pass: on('pause') }),
  write('POST', `/containers/${id}/unpause`, { pass: on('unpause') }),
  write('POST', `/containers/${id}/wait`, { query: ['condition'], pass: on('wait') }),
  write('DELETE', `/containers/${id}`, { query: ['force', 'v'], pass: on('') }),

  write('POST', `/containers/${id}/exec`, { longest: MiB, pass: exec }),
  { ...write('POST', '/exec/([0-9a-f]{64})/start', { pass: execStart }), upgrade: true },
  write('POST', '/exec/([0-9a-f]{64})/resize', { query: ['h', 'w'], pass: onExec('resize') }),
  read('/exec/([0-9a-f]{64})/json', { pass: onExec('json') }),

  read('/volumes', { query: ['filters'], pass: ({ query }) => ({ path: '/volumes', query: own(query) }) }),
  write('POST', '/volumes/create', {
    query: ['Name', 'Driver', 'DriverOpts', 'Labels'],
    longest: MiB,
    pass: ({ body, policy }) => ({ path: '/volumes/create', body: acceptedVolume(body, policy) }),
  }),
  read(`/volumes/${id}`, { pass: onVolume }),
  write('DELETE', `/volumes/${id}`, { pass: onVolume }),
  write('POST', '/networks/create', {
    query: ['Name', 'Driver', 'CheckDuplicate', 'EnableIPv6', 'Options'],
    pass: ({ body, policy }) => ({ path: '/networks/create', body: acceptedNetwork(body, policy) }),
  }),
];

type Details = Pick<Route, 'pass'> & Partial<Pick<Route, 'query' | 'longest'>>;

function read(path: string, details: Details): Route {
  return write('GET', path, details);
}

function write(method: string, path: string, { pass, query = [], longest = little }: Details): Route {
  return { method, pattern: new RegExp(`^${path}$`), query, longest, pass };
}

/** The route of a request with the name in its path. Throws a `Refusal` where there is none. */
export function findRoute(method: string, path: string): { route: Route; name: string } {
  for (const route of routes) {
    const match = route.method === method ? route.pattern.exec(path) : null;
    if (match) return { route, name: match[1] ?? '' };
  }
  throw new Refusal('Berth does not need this of the engine, so it is not let through.');
}

/** The whole of what is sent on, the version of the API kept. */
export function pathOf({ path, query = {} }: Passed, version: string): string {
  return version + path + writeQuery(query);
}

export function queryOf(route: Route, text: string): Query {
  return readQuery(text, route.query);
}

const own = (query: Query): Query => ({ ...query, filters: ownFilters(query['filters']) });

function events(query: Query): Query {
  const filters = JSON.parse(ownFilters(query['filters'])) as object;
  return { filters: JSON.stringify({ ...filters, type: ['container'] }) };
}

function image({ name, policy }: Asked): Passed {
  const known = [policy.hostImage, ...policy.templates.map(({ image }) => image)];
  if (!known.includes(name)) throw new Refusal('Only images of templates may be looked at.');
  return { path: `/images/${name}/json` };
}

const misnamed = new Refusal("Only Berth's own containers may be created: the name is not as Berth sets it.");

async function create({ query, body, policy, belongings }: Asked): Promise<Passed> {
  const { name } = query;
  if (isFiller(body) ? name !== undefined : !containerName.safeParse(name).success) throw misnamed;
  const accepted = acceptedContainer(body, policy, await belongings.imageVolumes(imageOf(body, policy)));
  return { path: '/containers/create', query, body: accepted };
}

/** Whether it says so; what it is then held to is a filler's body. */
function isFiller(body: unknown): boolean {
  const found = (body as { Labels?: unknown } | null | undefined)?.Labels;
  return typeof found === 'object' && found !== null && Object.hasOwn(found, labels.filler);
}

/** The image of a template that a sandbox is to have; `undefined` where there is none. */
function imageOf(body: unknown, { templates }: GuardPolicy): string | undefined {
  const image = (body as { Image?: unknown } | null | undefined)?.Image;
  return templates.find((template) => template.image === image)?.image;
}

function on(action: string, query?: Query): Route['pass'] {
  return async (asked) => {
    const id = await asked.belongings.container(asked.name);
    return { path: `/containers/${id}${action && `/${action}`}`, query: query ?? asked.query };
  };
}

/** Without a body, whatever came: old engines take a whole `HostConfig` in it. */
async function start({ name, belongings }: Asked): Promise<Passed> {
  return { path: `/containers/${await belongings.runnable(name)}/start` };
}

async function exec({ name, body, belongings }: Asked): Promise<Passed> {
  const accepted = acceptedExec(body);
  return { path: `/containers/${await belongings.runnable(name)}/exec`, body: accepted };
}

async function execStart({ name, body, belongings }: Asked): Promise<Passed> {
  const accepted = acceptedExecStart(body);
  await belongings.exec(name);
  return { path: `/exec/${name}/start`, body: accepted };
}

function onExec(action: string): Route['pass'] {
  return async ({ name, query, belongings }) => {
    await belongings.exec(name);
    return { path: `/exec/${name}/${action}`, query };
  };
}

async function onVolume({ name, belongings }: Asked): Promise<Passed> {
  await belongings.volume(name);
  return { path: `/volumes/${name}` };
}

/** What the disk holds, less everything that is not Berth's. */
function ownUse(json: unknown): unknown {
  const { Volumes } = json as { Volumes?: readonly { Labels?: object | null }[] | null };
  return { Volumes: (Volumes ?? []).filter(({ Labels }) => Labels && labels.instance in Labels) };
}
