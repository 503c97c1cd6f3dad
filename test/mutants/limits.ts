import { breaking } from './mutant.ts';

const limiter = breaking('src/sandbox/intercept/limits/limiter.ts', 'test/unit/limits.test.ts');
const admission = breaking('src/sandbox/lifecycle/admission.ts', 'test/unit/admission.test.ts');
const ended = 'test/mcp/deletion.test.ts';
const body = breaking('src/api/http/body.ts', 'test/mcp/http.test.ts');
const server = breaking('src/api/http/server.ts', 'test/mcp/vanished.test.ts');
const policy = breaking('src/sandbox/intercept/policy/policy.ts', 'test/unit/policy.test.ts');

/** What bounds callers, and what is let go of. */
export const limits = [
  limiter('any number of commands of one', 'each.commands > 0 && account.commands >= each.commands', 'false'),
  limiter('any number of commands of all', 'total.commands > 0 && this.#all.commands >= total.commands', 'false'),
  limiter('any number of terminals', 'each.terminals > 0 && own >= each.terminals', 'false'),
  limiter('uploads without end', 'if (used + bytes <= most) return;', 'if (used >= 0) return;'),
  limiter('CPU without end', 'if (most === 0 || used <= most) continue;', 'if (used >= 0) continue;'),
  breaking('src/sandbox/intercept/limits/cpu-watch.ts', 'test/unit/limits.test.ts')(
    'short sandboxes compute for nothing',
    'this.#options.limiter.cpu(row.principal, await this.#used(live))',
    'await this.#used(live)',
  ),
  breaking('src/sandbox/lifecycle/keeper.ts', 'test/unit/pool.test.ts')(
    'ended sandboxes are not counted',
    'await this.#options.leaving?.(entry.row, live);\n      await end',
    'await end',
  ),
  admission(
    'any number of sandboxes',
    'if (taken.size + (this.#queue.inside - this.#starting.size) >= maxSandboxes)',
    'if (maxSandboxes === 0)',
  ),
  admission('any number of one’s sandboxes', 'if (most > 0 && own.length >= most)', 'if (most < 0)'),
  admission('any amount of memory of one', 'memory.each === 0 ||', 'memory.each >= 0 ||'),
  admission('any amount of memory of all', 'if (memory.total > 0 &&', 'if (memory.total < 0 &&'),
  admission('a host without memory takes more', 'return headroom?.shortage();', 'return undefined;'),
  breaking('src/sandbox/lifecycle/new-row.ts', 'test/unit/pool.test.ts')(
    'any template for everybody',
    'filter((name) => principal.templates?.includes(name) ?? true)',
    'filter(() => true)',
  ),
  breaking('src/sandbox/lifecycle/sweeper.ts', 'test/unit/pool.test.ts')(
    'nothing expires',
    'row.expires !== null && row.expires <= now',
    'false',
  ),
  breaking('src/sandbox/lifecycle/pool.ts', ended)(
    'what is ended starts anew',
    'if (entry.ended) throw unknownSandbox();',
    '',
  ),
  breaking('src/sandbox/lifecycle/keeper.ts', ended)('workspaces stay', 'await this.#removeWorkspace(entry.row);', ''),
  breaking('src/api/mcp/sessions.ts', ended)(
    'containers of ended sessions stay',
    '.then(() => this.#ctx.sandboxes.detach(key))',
    '.then(() => {})',
  ),
  breaking('src/sandbox/lifecycle/keeper.ts', 'test/unit/pool.test.ts')(
    'what a new server does not know yet is not removed',
    'await this.reconciled();\n    if (entry.row.state',
    'if (entry.row.state',
  ),
  breaking('src/runtimes/docker/quota/reserve.ts', 'test/mcp/isolation.test.ts')(
    'the host’s disk may be filled',
    'free < quota.reserve',
    'false',
  ),
  breaking('src/runtimes/docker/usage.ts', 'test/contract/runtime.docker-faults.test.ts')(
    'an answer without figures is nothing used',
    'if (!(Date.parse(stats.read) > 0)) return undefined;',
    '',
  ),
  breaking('src/sandbox/lifecycle/disk-watch.ts', 'test/unit/disk-watch.test.ts')(
    'workspaces outgrow their size',
    'if (size <= limit) continue;',
    'continue;',
  ),
  body('long bodies', 'if (received > limit) throw tooLarge(limit);', ''),
  body('deep bodies', 'if (depthOf(text) > maxDepth)', 'if (false)'),
  breaking('src/api/http/body.ts', 'test/unit/http-body.test.ts')(
    'slow bodies',
    'setTimeout(() => reject(tooSlow), Math.max(0, milliseconds))',
    'setTimeout(() => {}, milliseconds)',
  ),
  breaking('src/api/http/server.ts', 'test/mcp/http.test.ts')(
    'slow headers',
    'const serverOptions = {\n    headersTimeout,',
    'const serverOptions = {\n    headersTimeout: 0,',
  ),
  server('idle connections of clients that vanished stay', 'keepAlive: true', 'keepAlive: false'),
  server(
    'busy connections of clients that vanished stay',
    'reapVanished(server, keepalive)',
    'reapVanished(server, 1e9)',
  ),
  breaking('src/api/http/files.ts', 'test/mcp/files-http.test.ts')(
    'transfers may stand still',
    'AbortSignal.any([c.req.raw.signal, watchdog.signal])',
    'c.req.raw.signal',
  ),
  breaking('src/api/http/body-stream.ts', 'test/mcp/files-http.test.ts')(
    'archives of any length',
    'if (size > limit) throw',
    'if (size < 0) throw',
  ),
  breaking('src/api/http/terminal-socket.ts', 'test/mcp/terminal-ws.test.ts')(
    'viewers that do not read are sent everything',
    'if (socket.bufferedAmount > watermark) await promise;',
    '',
  ),
  breaking('src/api/http/terminal-socket.ts', 'test/mcp/terminal-ws.test.ts')(
    'viewers that went stay',
    'if (!heard) return socket.terminate();',
    '',
  ),
  breaking('src/api/http/rate.ts', 'test/mcp/http.test.ts')(
    'any number of requests',
    'await memory.consume(name);',
    '',
  ),
  policy('any command', 'if (rules.allowed && !isAllowed(command, rules.allowed, found)) {', 'if (false) {'),
  policy('scripts within scripts are not read', 'scripts.push(...found.scripts);', ''),
  policy(
    'patterns are not looked at',
    'blocked.find(({ regExp }) => regExp.test(text));',
    'blocked.find(() => false);',
  ),
  policy('any terminal', 'if (!options.command) {', 'if (false) {'),
  policy('what cannot be read is run', 'if (!doubt) return;', 'if (doubt || !doubt) return;'),
];
