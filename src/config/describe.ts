import type { Config } from '../config.ts';
import type { Source } from './layers.ts';
import { settingRows } from './tree.ts';

/** One effective setting, fit to be printed: secrets are left out. */
export interface ShownSetting {
  readonly key: string;
  /** As one would write it; `–` where it is absent. */
  readonly value: string;
  /** The value itself, for programs; what is shown where it may hold a secret. */
  readonly raw: unknown;
  /** `default`, or the variable, flag or file it came from. */
  readonly source: string;
}

/** Every setting in force with its source. Of API keys and of templates' variables only the names are shown. */
export function describeConfig(config: Config, sources: ReadonlyMap<string, Source>): readonly ShownSetting[] {
  return settingRows(Object.keys(config.templates)).map(({ key, show, guarded }) => {
    const raw = valueAt(config, key);
    const value = raw === undefined ? '–' : show(raw as never);
    return { key, value, raw: guarded && raw !== undefined ? value : raw, source: sources.get(key)?.name || 'default' };
  });
}

function valueAt(config: Config, place: string): unknown {
  return place
    .split('.')
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined)?.[part], config);
}
