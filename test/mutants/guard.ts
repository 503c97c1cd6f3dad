import { breaking } from './mutant.ts';

const create = breaking('src/guard/create.ts', 'test/unit/guard-create.test.ts');
const difference = breaking('src/guard/difference.ts', 'test/unit/guard-create.test.ts');
const wire = (file: string) => breaking(file, 'test/unit/guard-wire.test.ts');
const belongings = wire('src/guard/belongings.ts');
const bodies = wire('src/guard/bodies.ts');
const query = wire('src/guard/query.ts');
const routes = wire('src/guard/routes.ts');
const real = (file: string) => breaking(file, 'test/contract/guard.docker.test.ts');
const doctor = breaking('src/doctor/attack.ts', 'test/contract/doctor.test.ts');

/** What stands before the engine's socket, and what looks for holes. */
export const guard = [
  create('any limit', '!(asked[name] > 0 && asked[name] <= most[name])', 'false'),
  create('any image', 'policy.templates.filter(({ image }) => image === asked.Image)', 'policy.templates'),
  create('any directory of the host', 'if (!/^[\\w-]{1,64}$/.test(handle)) throw', 'if (handle === undefined) throw'),
  create('a sandbox that never ends', 'if (orphanAfter > policy.orphanAfter) throw', 'if (orphanAfter < 0) throw'),
  difference('other values', 'return Object.is(given, own) ? undefined :', 'return given !== undefined ? undefined :'),
  difference(
    'other keys',
    'if (!Object.hasOwn(given, key) || !Object.hasOwn(own, key)) return at;',
    'if (!Object.hasOwn(given, key) || !Object.hasOwn(own, key)) continue;',
  ),
  belongings(
    'containers of others',
    'if (!Object.hasOwn(Config.Labels ?? {}, labels.instance))\n      throw new Refusal("Only Berth\'s own containers are let through.");',
    '',
  ),
  real('src/guard/belongings.ts')(
    'volumes of others',
    'if (!isOwnVolume(name)) throw new Refusal("Only Berth\'s own volumes are let through.");',
    '',
  ),
  real('src/guard/belongings.ts')(
    'programs in containers without walls',
    "if (!hardened) throw new Refusal('Nothing may run in this container.');",
    '',
  ),
  belongings(
    'privileged programs of others',
    "if (found.data.ProcessConfig.privileged) throw new Refusal('A privileged process is not let through.');",
    '',
  ),
  bodies('privileged programs', 'Privileged: z.literal(false).optional(),', 'Privileged: z.boolean().optional(),'),
  bodies('programs of other users', "User: z.enum(['', '1000:1000']).optional(),", 'User: z.string().optional(),'),
  real('src/guard/bodies.ts')(
    'volumes of any device',
    'if (difference(asked.DriverOpts, optionsOf(asked.Name, asked.DriverOpts, policy)))',
    'if (false)',
  ),
  real('src/guard/bodies.ts')(
    'networks of any kind',
    "if (!templates.some(({ network }) => network === 'open')) throw new Refusal('No template has an open network.');",
    '',
  ),
  query('lists of everything', 'narrow ? label : [...label, labels.instance]', 'label'),
  query(
    'a key twice',
    "if (new Set(names).size !== names.length) throw new Refusal('A key of the query came twice.');",
    '',
  ),
  query(
    'any key',
    "if (names.some((name) => !expected.includes(name))) throw new Refusal('The query has a key that Berth does not use.');",
    '',
  ),
  real('src/guard/routes.ts')(
    'all images',
    "if (!known.includes(name)) throw new Refusal('Only images of templates may be looked at.');",
    '',
  ),
  routes(
    'any name',
    'if (unnamed !== (name === undefined) || (name !== undefined && !containerName.safeParse(name).success))',
    'if (false)',
  ),
  doctor(
    'the doctor finds nothing',
    'return found.length === 0 ? held(detail) :',
    'return found.length >= 0 ? held(detail) :',
  ),
  breaking('src/doctor/attacks/resources.ts', 'test/contract/doctor.test.ts')(
    'the doctor does not count bytes of the log',
    "if (driver === 'none' && bytes === 0)",
    'if (bytes >= 0)',
  ),
  breaking('src/cli/strict.ts', 'test/contract/doctor.test.ts')(
    'a strict server starts anyway',
    "if (failed.length > 0) throw refusal('berth",
    "if (failed.length < 0) throw refusal('berth",
  ),
];
