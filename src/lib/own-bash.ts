/** What starts a script of Berth's own in a sandbox. */
export interface OwnBash {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * `-p` takes no functions, options or start-up files from the environment, but POSIX mode and the environment of the
 * tools that the script calls remain.
 */
const cleaned = `set +o posix
for name in $(compgen -e); do
  case $name in PATH | HOME | LD_LIBRARY_PATH) ;; *) unset -v "$name" ;; esac
done 2>/dev/null
unset -v name
`;

/** Read by the loader before bash is there to forget them. */
const unloaded = { LD_PRELOAD: '', LD_AUDIT: '' };

/** A script in an environment of its own: what the image, its template or its user has put into theirs changes nothing. */
export function ownBash(bash: string, script: string, args: readonly string[] = []): OwnBash {
  return { argv: [bash, '--noprofile', '--norc', '-p', '-c', cleaned + script, 'berth', ...args], env: unloaded };
}
