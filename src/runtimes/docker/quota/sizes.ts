import { abortable, type Engine } from '../client.ts';
import { labels } from '../spec.ts';

interface DiskUse {
  readonly Volumes?: readonly {
    readonly Name: string;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly UsageData?: { readonly Size: number } | null;
  }[];
}

/** The engine counts as root: unlike a `du` inside, it sees what a sandbox's user has hidden from itself. */
export async function volumeSizes(
  engine: Engine,
  instance: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const measure = engine.docker.df.bind(engine.docker) as unknown as (options: object) => Promise<DiskUse>;
  const found = await engine.call(
    { doing: 'measure workspaces' },
    (abortSignal) => measure(abortable({ type: 'volume' }, abortSignal)),
    signal,
  );
  const own = (found.Volumes ?? []).filter(({ Labels }) => Labels?.[labels.instance] === instance);
  return new Map(own.flatMap(({ Name, UsageData }) => (UsageData ? [[Name, UsageData.Size] as const] : [])));
}
