import { copyFileSync, existsSync } from 'node:fs';
import type { Answer, Machine } from './machine.ts';
import type { Variant } from './variants.ts';

/** What a column says of a variant: `yes`, `refused`, figures, or in one line what went wrong. */
export type Cell = string;

export const columns = [
  'versions',
  'berth up',
  'client',
  'kill -9, restart',
  'engine restart',
  'out_of_memory',
  'disk_full',
  'pids_limit',
  'doctor',
  'contract tests',
] as const;
export type Column = (typeof columns)[number];

/** Those that another engine or its settings can change. */
const suites = ['runtime.docker', 'quota.docker', 'causes.docker'];

/**
 * Tries everything on a started machine. `images` is a file of this host: the first variant, whose `berth up` makes them,
 * leaves them there for the others.
 */
export async function tryAll(machine: Machine, variant: Variant, images: string): Promise<Map<Column, Cell>> {
  const cells = new Map<Column, Cell>();
  if (variant.prepare) await expect(machine.run(variant.prepare));
  if (variant.start) await machine.run(`${variant.start}\nsleep 3`);
  const made = existsSync(images);
  if (made && !variant.refused) await load(machine, images);
  const up = await machine.run(server(variant, 900), 960);
  cells.set('berth up', verdict(up, variant.refused));
  cells.set('versions', lastLine(await machine.run(versions)));
  if (up.code !== 0) return cells;
  if (!made) await save(machine, images);
  await inTurn(machine, variant, cells);
  return cells;
}

async function load(machine: Machine, images: string): Promise<void> {
  copyFileSync(images, machine.path('tmp/images.tar'));
  await expect(machine.run(`${engine}; docker load -q -i /tmp/images.tar && rm /tmp/images.tar`, 600));
}

async function save(machine: Machine, images: string): Promise<void> {
  const named = `docker image ls --format '{{.Repository}}:{{.Tag}}' | grep ^berth/`;
  await expect(machine.run(`docker save -o /tmp/images.tar $(${named})`, 600));
  copyFileSync(machine.path('tmp/images.tar'), images);
}

async function inTurn(machine: Machine, variant: Variant, cells: Map<Column, Cell>): Promise<void> {
  const step = (name: string) => machine.run(`node test/engines/client.ts ${name}`, 180);
  cells.set('client', verdict(await step('client')));
  await machine.run('kill -9 $(cat /tmp/berth.pid); sleep 1');
  const restarted = await machine.run(server(variant, 120), 150);
  cells.set('kill -9, restart', verdict(restarted.code === 0 ? await step('restarted') : restarted));
  for (const cause of ['out_of_memory', 'disk_full', 'pids_limit'] as const)
    cells.set(cause, verdict(await step(cause)));
  if (variant.name === 'live-restore') {
    await machine.run('kill $(cat /var/run/docker.pid); while [ -e /var/run/docker.pid ]; do sleep 0.2; done');
    await machine.run(engine);
    cells.set('engine restart', verdict(await step('restarted')));
  }
  await machine.run('kill $(cat /tmp/berth.pid); tail --pid=$(cat /tmp/berth.pid) -f /dev/null', 60);
  const quota = variant.quota ? `BERTH_WORKSPACE__QUOTA=${variant.quota}` : '';
  cells.set('doctor', card(await machine.run(`${quota} node src/main.ts doctor --json`, 300)));
  const files = suites.map((suite) => `test/contract/${suite}.test.ts`).join(' ');
  cells.set(
    'contract tests',
    counts(
      await machine.run(`node --test --test-concurrency=1 --test-timeout=300000 ${files} | tee /tmp/tests.log`, 590),
    ),
  );
}

/** Starts the engine by hand, as `berth up` would. */
const engine = `docker version > /dev/null 2>&1 || { dockerd > /tmp/dockerd.log 2>&1 & }
  for i in {1..150}; do docker version > /dev/null 2>&1 && break; sleep 0.2; done`;

/** Runs \`berth up\` until it is ready or has ended. */
function server({ quota }: Variant, seconds: number): string {
  return `
    export BERTH_TEMPLATES__DATA=false BERTH_SESSION__TEMPLATE=base ${quota ? `BERTH_WORKSPACE__QUOTA=${quota}` : ''}
    : > /tmp/up.log
    node src/setup/bootstrap.mjs up > /tmp/up.log 2>&1 & echo $! > /tmp/berth.pid
    for ((i = 0; i < ${seconds}; i++)); do
      grep -q 'is ready at' /tmp/up.log && exit 0
      kill -0 $! 2> /dev/null || break
      sleep 1
    done
    cat /tmp/up.log; exit 1`;
}

const versions = `v=$(docker version -f '{{.Server.Version}}' 2> /dev/null || podman --version)
  echo "$v, $(runc --version | head -n 1), $(docker info -f '{{.Driver}}, cgroup v{{.CgroupVersion}}' 2> /dev/null)"`;

async function expect(work: Promise<Answer>): Promise<void> {
  const { code, output } = await work;
  if (code !== 0) throw new Error(output.slice(-500));
}

export function verdict({ code, output }: Answer, refused?: string): Cell {
  if (code === 0) return refused ? 'not refused' : 'yes';
  if (refused && output.includes(refused)) return 'refused, with the reason';
  return `no: ${complaint(output)}`;
}

function complaint(output: string): string {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  return (lines.find((line) => /Error|^berth:/.test(line)) ?? lines.at(-1) ?? 'no output').slice(0, 160);
}

function lastLine({ output }: Answer): string {
  return output.trim().split('\n').at(-1) ?? '';
}

interface Line {
  readonly name: string;
  readonly template?: string;
  readonly status: string;
}

function card({ output, code }: Answer): Cell {
  const start = output.indexOf('{');
  if (start < 0) return verdict({ code: code || 1, output });
  const { checks } = JSON.parse(output.slice(start)) as { checks: Line[] };
  const own = checks.filter(({ template }) => template === 'base');
  const named = (status: string) => own.filter((check) => check.status === status).map(({ name }) => name);
  const [failed, untried] = [named('fail'), named('untried')];
  const rest = [
    failed.length > 0 && `failed: ${failed.join(', ')}`,
    untried.length > 0 && `not tried: ${untried.join(', ')}`,
  ];
  return [`${named('ok').length} hold`, ...rest.filter(Boolean)].join('; ');
}

function counts({ output, code }: Answer): Cell {
  const count = (what: string) => new RegExp(`^\\S+ ${what} (\\d+)$`, 'm').exec(output)?.[1];
  const [passed, failed] = [count('pass'), count('fail')];
  if (passed === undefined) return verdict({ code: code || 1, output });
  const named = new Set([...output.matchAll(/^ +✖ (.*) \([\d.]+ms\)$/gm)].map(([, name]) => name));
  return [`${passed} pass, ${failed} fail`, ...named].join('; ');
}
