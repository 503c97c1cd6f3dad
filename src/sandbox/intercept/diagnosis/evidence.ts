/** A command that has failed, as far as its cause may show in it. */
export interface Failure {
  readonly command: string;
  readonly exitCode: number | null;
  /** The last few KiB of each stream. */
  readonly stdout: string;
  readonly stderr: string;
}

const killed = /\bkilled\b|out of memory|cannot allocate memory|MemoryError|bad_alloc|ENOMEM/i;
const torn = /\bbus error\b|\bSIGBUS\b/i;
const noRoot =
  /\bsudo: (command )?not found|\bare you root\?|requires superuser privilege|^E: .*\/var\/(lib|cache)\/(apt|dpkg)\b.*\((13|30): /m;
const noSpace = /no space left on device|disk quota exceeded|ENOSPC|errno 28\b|(database or )?disk is full/i;
const noProcess =
  /resource temporarily unavailable|can(no|')t (start new thread|fork|create thread)|fork: retry|EAGAIN/i;
/** Of resolvers alone: Python's FileNotFoundError, npm's ERESOLVE, bundlers and rustc resolve things that are no hosts. */
const noNetwork =
  /could not resolve (host|proxy|'[\w.-]+'$)|name resolution|network is unreachable|name or service not known|\bENOTFOUND\b|EAI_AGAIN|ENETUNREACH|failed to resolve ('[\w.-]+' \(|host|address)|nodename nor servname/im;

export function looksKilled({ exitCode, stderr }: Failure): boolean {
  return exitCode === 137 || killed.test(stderr);
}

/** A shell says how a child died; what starts workers by itself, Python say, tells the signal. */
export function looksTorn({ exitCode, stderr }: Failure): boolean {
  return exitCode === 135 || torn.test(stderr);
}

/** `certain` where the command itself said so on stderr. */
export function looksFull({ stdout, stderr }: Failure): 'certain' | 'maybe' | 'no' {
  if (noSpace.test(stderr)) return 'certain';
  return noSpace.test(stdout) ? 'maybe' : 'no';
}

export function looksCrowded({ stderr }: Failure): boolean {
  return noProcess.test(stderr);
}

/** Of sudo, and of apt and dpkg, which want to write where nobody may. */
export function looksUnprivileged({ stderr }: Failure): boolean {
  return noRoot.test(stderr);
}

export function looksOffline({ stdout, stderr }: Failure): boolean {
  return noNetwork.test(stderr) || noNetwork.test(stdout);
}

const hostInError =
  /(?:could not resolve (?:host|proxy)(?:name)?:? |failed to resolve |host=|getaddrinfo (?:ENOTFOUND|EAI_AGAIN) |resolving )['"‘]?([a-z0-9][\w.-]{0,252})/i;
const hostInUrl = /\b(?:https?|ssh|git|ftp):\/\/(?:[^\s/@'"]{1,200}@)?([a-z0-9][\w.-]{0,252})/i;

/** The host that was not reached, where it can be told. */
export function hostIn({ command, stderr }: Failure): string | undefined {
  const found = hostInError.exec(stderr)?.[1] ?? hostInUrl.exec(command)?.[1] ?? hostInUrl.exec(stderr)?.[1];
  return found?.replace(/\.+$/, '');
}
