/** One place that apt takes packages from. */
export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
  /** A keyring's path; absent where apt's default keys hold. */
  readonly signedBy?: string;
  readonly trusted: boolean;
}

/** The entries of a one-line-style file (`sources.list`). Source packages and what cannot be read are left out. */
export function parseSourcesList(text: string): readonly AptSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[(?<options>[^\]]*)\]\s+)?(?<uri>\S+)\s+(?<suite>\S+)(?<components>[^#]*)/.exec(line);
    const { options = '', uri = '', suite = '', components = '' } = match?.groups ?? {};
    if (!match) return [];
    return [source(uri, suite, words(components), Object.fromEntries(words(options).map(keyAndValue)))];
  });
}

/** The entries of a deb822-style file (`*.sources`). */
export function parseDeb822(text: string): readonly AptSource[] {
  return text.split(/\n(?:[ \t]*\n)+/).flatMap((stanza) => {
    const fields = stanzaFields(stanza);
    const list = (name: string) => words(fields.get(name) ?? '');
    if (!list('types').includes('deb') || fields.get('enabled') === 'no') return [];
    const options = { 'signed-by': fields.get('signed-by') ?? '', trusted: fields.get('trusted') ?? '' };
    return list('uris').flatMap((uri) =>
      list('suites').map((suite) => source(uri, suite, list('components'), options)),
    );
  });
}

function stanzaFields(stanza: string): ReadonlyMap<string, string> {
  const lines = stanza.split('\n').filter((line) => !line.startsWith('#'));
  const joined = lines.join('\n').replaceAll(/\n[ \t]+/g, ' ');
  const fields = joined.split('\n').map((line) => /^([A-Za-z0-9-]+):\s*(.*?)\s*$/.exec(line));
  return new Map(fields.flatMap((field) => (field ? [[(field[1] ?? '').toLowerCase(), field[2] ?? '']] : [])));
}

function source(uri: string, suite: string, components: readonly string[], options: Record<string, string>): AptSource {
  const signedBy = options['signed-by'];
  return {
    uri,
    suite,
    components,
    trusted: options['trusted'] === 'yes',
    ...(signedBy?.startsWith('/') && { signedBy: signedBy.split(/[\s,]/)[0] ?? signedBy }),
  };
}

const words = (text: string): string[] => text.split(/\s+/).filter(Boolean);

function keyAndValue(option: string): [string, string] {
  const at = option.indexOf('=');
  return [option.slice(0, at).toLowerCase(), option.slice(at + 1)];
}

/** The machine's release, of `/etc/os-release`. */
export interface Release {
  readonly id: string;
  readonly codename: string;
}

export function parseRelease(text: string): Release {
  const value = (name: string) => new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: value('ID'), codename: value('VERSION_CODENAME') };
}

/**
 * The sources of the distribution itself, the release's own suite first; those of others, which sign with keys of
 * their own, and those that a build could not reach over HTTP, are left out. Ubuntu's get `universe`.
 */
export function distributionSources(sources: readonly AptSource[], release: Release): readonly AptSource[] {
  const suites = ['', '-updates', '-security', '/updates'].map((suffix) => release.codename + suffix);
  const ours = sources.filter(({ uri, suite, components, signedBy }) => {
    const known = signedBy === undefined || /\/(debian|ubuntu)-archive-[^/]*$/.test(signedBy);
    return known && /^https?:/.test(uri) && suites.includes(suite) && components.includes('main');
  });
  return ours
    .map((entry) => ({
      ...entry,
      components: release.id === 'ubuntu' ? withUniverse(entry.components) : entry.components,
    }))
    .sort((a, b) => suites.indexOf(a.suite) - suites.indexOf(b.suite));
}

function withUniverse(components: readonly string[]): readonly string[] {
  return [...new Set([...components, 'universe'])];
}

/** The sources as a one-line-style file. */
export function formatSources(sources: readonly AptSource[]): string {
  return sources
    .map((entry) => `deb ${optionsOf(entry)}${entry.uri} ${entry.suite} ${entry.components.join(' ')}\n`)
    .join('');
}

function optionsOf({ signedBy, trusted }: AptSource): string {
  const options = [...(signedBy ? [`signed-by=${signedBy}`] : []), ...(trusted ? ['trusted=yes'] : [])];
  return options.length > 0 ? `[${options.join(' ')}] ` : '';
}
