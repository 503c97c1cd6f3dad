/** Milliseconds after which an earlier session has nothing to do with a new one. */
const fresh = 600_000;
/** Sessions remembered of one principal, and principals. */
const mostSessions = 16;
const mostPrincipals = 1000;

interface Step {
  readonly sandbox: string;
  readonly calls: number;
  readonly at: number;
}

/**
 * Who used which session-keyed sandbox not long ago. Some clients open a session per call, and each call then finds an
 * empty computer. The rule: the first call of a session hears of the principal's newest other session if that made one
 * call alone, within ten minutes. It is told, not given: behind one key there may be several conversations, and only the
 * model knows whether it has called before. Nothing crosses principals.
 */
export class SessionTrail {
  readonly #byPrincipal = new Map<string, Map<string, Step>>();

  /** Notes a call. The sandbox that the one before may have used, at a session's first call. */
  step(principal: string, session: string, sandbox: string): string | undefined {
    const steps = this.#stepsOf(principal);
    const known = steps.get(session);
    const earlier = known ? undefined : newest(steps);
    renew(steps, session, { sandbox, calls: (known?.calls ?? 0) + 1, at: performance.now() }, mostSessions);
    return earlier;
  }

  #stepsOf(principal: string): Map<string, Step> {
    const steps = this.#byPrincipal.get(principal) ?? new Map<string, Step>();
    renew(this.#byPrincipal, principal, steps, mostPrincipals);
    return steps;
  }
}

export function earlierSandbox(sandbox: string): string {
  return `this sandbox belongs to this MCP session alone; if you have made a call in this conversation before, what it left is in another: pass sandbox "${sandbox}" from now on`;
}

function newest(steps: ReadonlyMap<string, Step>): string | undefined {
  const last = [...steps.values()].at(-1);
  return last?.calls === 1 && performance.now() - last.at < fresh ? last.sandbox : undefined;
}

/** Puts it at the end; the one that was longest unused goes if there are too many. */
function renew<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
