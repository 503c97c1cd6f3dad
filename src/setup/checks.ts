/** `untried`: it could not be tried here, or not to its end; nothing is known of it. */
export type Status = 'ok' | 'warn' | 'fail' | 'untried';

/** One line of `berth doctor`. */
export interface Check {
  readonly name: string;
  readonly status: Status;
  readonly detail: string;
  /** The template that was tried; absent where the host itself was. */
  readonly template?: string;
  /** What it means, where the detail does not say. */
  readonly meaning?: string;
  /** What to do about it; absent when all is well. */
  readonly advice?: string;
}

/** What the engine says of itself, as far as a check looks at it. */
export interface EngineFacts {
  readonly version: string;
  readonly runc: string;
  readonly cgroupVersion: string;
  readonly cgroupDriver: string;
  readonly limits: Readonly<Record<'memory' | 'cpu' | 'pids', boolean>>;
  readonly storage: string;
  readonly logging: string;
  readonly security: readonly string[];
  readonly liveRestore: boolean;
  readonly runtimes: readonly string[];
  /** What the engine itself warns of. */
  readonly warnings: readonly string[];
}

/** The oldest releases without known ways out of a container. */
export const recommended = { engine: '29.5.1', runc: '1.3.6' };

export function engineChecks(facts: EngineFacts): readonly Check[] {
  return [
    ...safetyChecks(facts),
    userNamespace(facts),
    liveRestore(facts),
    { name: 'storage driver', status: 'ok', detail: facts.storage },
    { name: 'log driver', status: 'ok', detail: `${facts.logging}; sandboxes log nothing to it` },
  ];
}

/** What `server.strict` insists on. */
export function safetyChecks(facts: EngineFacts): readonly Check[] {
  return [
    release('engine version', facts.version, recommended.engine),
    release('runc version', facts.runc, recommended.runc),
    limits(facts),
    confinement(facts),
    ...exposure(facts),
  ];
}

function release(name: string, found: string, least: string): Check {
  if (compareVersions(found, least) >= 0) return { name, status: 'ok', detail: found };
  const detail = found || 'unknown';
  return { name, status: 'warn', detail, advice: `${least} or newer closes known ways out of a container.` };
}

/** Compares dotted numbers; what follows them (`+dfsg1`, `-rc.1`) does not count. An unreadable version is the least. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  const at = [0, 1, 2].find((place) => left[place] !== right[place]);
  return at === undefined ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}

function numbersOf(version: string): readonly [number, number, number] {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(version);
  return [Number(match?.[1] ?? -1), Number(match?.[2] ?? 0), Number(match?.[3] ?? 0)];
}

function limits({ limits, cgroupVersion, cgroupDriver }: EngineFacts): Check {
  const detail = `cgroup v${cgroupVersion}, ${cgroupDriver}`;
  const missing = Object.entries(limits).flatMap(([name, works]) => (works ? [] : [name]));
  if (missing.length === 0) return { name: 'limits', status: 'ok', detail };
  const advice = 'One sandbox could take the whole host; enable these cgroup controllers.';
  return { name: 'limits', status: 'fail', detail: `${detail}; no limit on ${missing.join(', ')}`, advice };
}

function confinement({ security }: EngineFacts): Check {
  const names = security.map((option) => /name=([^,]+)/.exec(option)?.[1] ?? option);
  const detail = names.join(', ') || 'none';
  if (names.includes('seccomp')) return { name: 'confinement', status: 'ok', detail };
  return { name: 'confinement', status: 'fail', detail, advice: 'Use an engine and kernel with seccomp.' };
}

function userNamespace({ security }: EngineFacts): Check {
  const kind = ['userns', 'rootless'].find((name) => security.some((option) => option.startsWith(`name=${name}`)));
  if (kind) return { name: 'user namespaces', status: 'ok', detail: kind };
  const meaning = 'Who becomes root in a sandbox and leaves it is root on the host.';
  const advice = 'Put {"userns-remap": "default"} into daemon.json, or use a rootless engine.';
  return { name: 'user namespaces', status: 'warn', detail: 'off', meaning, advice };
}

/** Only when the engine says of itself that its API is open. */
function exposure({ warnings }: EngineFacts): readonly Check[] {
  const [open] = warnings.flatMap((warning) => /API is accessible on (\S+)/.exec(warning)?.[1] ?? []);
  if (open === undefined) return [];
  const meaning = "Whoever reaches it is root on the engine's host.";
  const advice = 'Take "-H tcp://…" away from the engine, or set up TLS with --tlsverify.';
  return [{ name: 'engine API', status: 'fail', detail: `open without TLS on ${open}`, meaning, advice }];
}

function liveRestore({ liveRestore }: EngineFacts): Check {
  if (liveRestore) return { name: 'live-restore', status: 'ok', detail: 'on' };
  const advice = 'Put {"live-restore": true} into daemon.json, or shells end whenever the engine restarts.';
  return { name: 'live-restore', status: 'warn', detail: 'off', advice };
}

export function imageCheck(use: string, image: string, id: string | undefined): Check {
  const name = `image of ${use}`;
  if (id) return { name, status: 'ok', detail: `${image} (${id.replace('sha256:', '').slice(0, 12)})` };
  const advice = image.startsWith('berth/') ? '"berth up" makes it.' : `Pull it: docker pull ${image}`;
  return { name, status: 'fail', detail: `${image} is not on the engine`, advice };
}

export function runtimeCheck(template: string, runtime: string, known: readonly string[]): Check {
  const name = `runtime of ${template}`;
  if (known.includes(runtime)) return { name, status: 'ok', detail: runtime };
  return { name, status: 'fail', detail: `${runtime} is unknown to the engine`, advice: `It has ${known.join(', ')}.` };
}
