import { isIP } from 'node:net';
import type { EgressPolicy } from '../sandbox/network/egress.ts';
import { forbiddenKind, forbiddenPrivateKind } from './addresses.ts';
import { showTarget, type Target } from './target.ts';

/** What may be done with a connection that a sandbox wants. */
export type Decision =
  | { readonly allowed: true; readonly addresses: readonly string[] }
  /** `rule` is for the log: `port`, `name`, `address`, `bytes`. `message` is one sentence for the model. */
  | { readonly allowed: false; readonly rule: string; readonly message: string };

/** Resolves a name to its addresses. Rejects when there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Decides what one template's sandboxes may reach. */
export class Gate {
  readonly #template: string;
  readonly #policy: EgressPolicy;
  readonly #resolve: Resolve;

  constructor(template: string, policy: EgressPolicy, resolve: Resolve) {
    this.#template = template;
    this.#policy = policy;
    this.#resolve = resolve;
  }

  /** Resolves the name once; the caller connects to one of the addresses it gets, so that no second answer counts. */
  async decide(target: Target): Promise<Decision> {
    const { hosts, ports, privates = [] } = this.#policy;
    if (privates.includes(showTarget(target))) return await this.#checked(target, forbiddenPrivateKind);
    if (!hosts.some((pattern) => matches(pattern, target.host))) return this.#refuse(target, 'name');
    if (!ports.includes(target.port)) return this.#refuse(target, 'port');
    return await this.#checked(target, forbiddenKind);
  }

  async #checked(target: Target, kindOf: (address: string) => string | undefined): Promise<Decision> {
    const addresses = isIP(target.host) ? [target.host] : await this.#resolve(target.host);
    for (const address of addresses) {
      const kind = kindOf(address);
      if (kind) return { allowed: false, rule: 'address', message: forbidden(target, address, kind) };
    }
    return { allowed: true, addresses };
  }

  #refuse(target: Target, rule: 'name' | 'port'): Decision {
    const { hosts, ports, privates = [] } = this.#policy;
    const allowed = rule === 'port' ? `ports ${ports.join(', ')}` : shown([...hosts, ...privates]);
    const message = `${showTarget(target)} was refused: sandboxes of the template ${this.#template} may reach only ${allowed}.`;
    return { allowed: false, rule, message };
  }
}

/** `*` matches everything, `*.example.org` every name below it and not itself, anything else itself alone. */
export function matches(pattern: string, host: string): boolean {
  const wanted = pattern.toLowerCase();
  if (wanted === '*') return true;
  return wanted.startsWith('*.') ? host.endsWith(wanted.slice(1)) && isIP(host) === 0 : host === wanted;
}

const mostShown = 20;

function shown(hosts: readonly string[]): string {
  if (hosts.length === 0) return 'no host at all';
  const more = hosts.length > mostShown ? ` and ${hosts.length - mostShown} others` : '';
  return hosts.slice(0, mostShown).join(', ') + more;
}

function forbidden(target: Target, address: string, kind: string): string {
  const named = isIP(target.host) ? 'it is' : `${target.host} leads to ${address},`;
  return `${showTarget(target)} was refused: ${named} ${kind}, which no sandbox may reach.`;
}
