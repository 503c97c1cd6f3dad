import type { RE2JS } from 're2js';
import { AppError } from '../../../errors.ts';
import { re2 } from '../../../lib/re2.ts';
import { parseScript, Unparsable } from './syntax.ts';
import { survey, type Invocation, type Survey } from './survey.ts';
import { baseName } from './words.ts';
import { intercept } from '../intercept.ts';
import type { Workspace } from '../../ports/workspace.ts';

/**
 * Which commands a script may name. A guard rail for agents that mean well: it reads the script, it doesn't follow
 * variables or files, and an interpreter on the list can do anything. The boundary is the container.
 */
export interface Policy {
  /** Rejects with `forbidden`, whose message says which command and which rule. `terminal`: someone could type into it. */
  check(script: string, options?: { readonly terminal?: boolean }): Promise<void>;
}

export interface PolicySettings {
  readonly enabled: boolean;
  /** Names; empty = any. */
  readonly allowed_executables: readonly string[];
  /** Regular expressions of RE2, matched against each script and each command in it. */
  readonly blocked_patterns: readonly string[];
}

/** `undefined` where the settings forbid nothing. */
export function createPolicy(settings: PolicySettings): Policy | undefined {
  const { enabled, allowed_executables: allowed, blocked_patterns: blocked } = settings;
  if (!enabled || allowed.length + blocked.length === 0) return undefined;
  const rules: Rules = {
    allowed: allowed.length > 0 ? new Set(allowed) : undefined,
    blocked: blocked.map((source) => ({ source, regExp: re2(source) })),
  };
  return { check: (script, options) => checkAll(script, rules, options?.terminal === true) };
}

interface Rules {
  readonly allowed: ReadonlySet<string> | undefined;
  /** Of RE2: on a hostile script, many an innocent pattern costs JavaScript's own the square of its length. */
  readonly blocked: readonly { readonly source: string; readonly regExp: RE2JS }[];
}

/** Scripts within scripts, all together. */
const mostScripts = 64;

async function checkAll(script: string, rules: Rules, terminal: boolean): Promise<void> {
  const scripts = [script];
  for (let at = 0; at < scripts.length; at += 1) {
    if (at === mostScripts) throw forbidden('The script', `it holds more than ${mostScripts} scripts`, 'parse');
    const text = scripts[at] ?? '';
    checkPatterns(text, 'The script', rules);
    const found = survey(await parsed(text));
    checkNames(found, rules, terminal);
    scripts.push(...found.scripts);
  }
}

async function parsed(text: string) {
  try {
    return await parseScript(text);
  } catch (error) {
    if (!(error instanceof Unparsable)) throw error;
    throw forbidden(
      'The script',
      `it cannot be parsed (${error.message}), and security.enabled is set`,
      'parse',
      error,
    );
  }
}

function checkNames(found: Survey, rules: Rules, terminal: boolean): void {
  for (const command of found.invocations) {
    checkPatterns(command.text, `Command ${quoted(command.name)}`, rules);
    if (rules.allowed && !isAllowed(command, rules.allowed, found)) {
      throw forbidden(
        `Command ${quoted(command.name)}`,
        'it is not in security.allowed_executables',
        'allowed_executables',
      );
    }
  }
  const doubt = found.doubts.find(({ typed }) => rules.allowed !== undefined || (terminal && typed));
  if (!doubt) return;
  const rule = rules.allowed ? 'allowed_executables' : 'blocked_patterns';
  throw forbidden(`Command ${quoted(doubt.subject)}`, `${doubt.reason}, and security.${rule} is set`, rule);
}

/** Builtins that neither run a program nor give a name another meaning, and those that only run what is checked itself. */
const free: ReadonlySet<string> = new Set(
  (
    ': true false test [ break continue return exit shift local export readonly declare typeset unset set shopt ' +
    'wait jobs type times umask getopts let read trap eval exec command builtin alias unalias'
  ).split(' '),
);

function isAllowed(command: Invocation, allowed: ReadonlySet<string>, found: Survey): boolean {
  const { name, pos } = command;
  if (allowed.has(baseName(name)) || free.has(name)) return true;
  const defined = found.functions.get(name);
  return defined !== undefined && defined < pos && !found.invocations.some((other) => other.name === 'unset');
}

function checkPatterns(text: string, subject: string, { blocked }: Rules): void {
  const pattern = blocked.find(({ regExp }) => regExp.test(text));
  if (pattern)
    throw forbidden(subject, `it matches ${pattern.source} of security.blocked_patterns`, 'blocked_patterns');
}

function forbidden(subject: string, reason: string, rule: string, cause?: unknown): AppError {
  return new AppError('forbidden', `${subject} is not allowed: ${reason}.`, { data: { rule }, cause });
}

function quoted(name: string): string {
  const shown = JSON.stringify(name.replace(/[^\P{C}]/gu, '?'));
  return shown.length > 100 ? `${shown.slice(0, 99)}…"` : shown;
}

/**
 * The workspace with every command checked first. A terminal needs a command that passes: what is typed into a bare shell
 * cannot be checked, so it is refused. What is typed into an allowed program is not looked at.
 */
export function guarded(workspace: Workspace, policy: Policy): Workspace {
  const { shell, terminals } = workspace;
  return intercept(workspace, {
    shell: {
      async run(command, options) {
        await policy.check(command);
        return shell.run(command, options);
      },
    },
    terminals: {
      async start(options = {}) {
        if (!options.command) throw bareTerminal();
        await policy.check(options.command, { terminal: true });
        return terminals.start(options);
      },
    },
  });
}

function bareTerminal(): AppError {
  const subject = 'A terminal without a command';
  return forbidden(subject, 'what is typed into a shell cannot be checked against security', 'terminal');
}
