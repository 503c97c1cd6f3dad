import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { FaultChat, Outcome } from './fault-chat.ts';
import { between, pick, random } from './plan.ts';

/** What a user does. It throws a `Wrong` for what no fault excuses. */
type Deed = (chat: FaultChat) => Promise<void>;

const nonce = () => randomBytes(6).toString('hex');

/** The result of a command that ran to its end; `undefined` where a fault kept it from that. */
async function ran(chat: FaultChat, command: string, args: object = {}): Promise<Record<string, unknown> | undefined> {
  const since = performance.now();
  const outcome = await chat.call('execute_command', { command, timeout: 30, ...args });
  if (outcome.kind === 'dropped') return undefined;
  if (outcome.kind === 'answered' && /^(success|error)$/.test(String(outcome.fields['status']))) return outcome.fields;
  chat.excuse(since, `${command} came to ${show(outcome)}`);
  return undefined;
}

function show(outcome: Outcome): string {
  return JSON.stringify(outcome).slice(0, 1000);
}

async function compute(chat: FaultChat): Promise<void> {
  const [word, code] = [nonce(), between(0, 250)];
  const fields = await ran(chat, `echo ${word} | tr a-f A-F; (exit ${code})`);
  if (fields === undefined) return;
  const { stdout, exit_code: exit } = fields;
  if (stdout !== `${word.toUpperCase()}\n` || exit !== code) throw chat.wrong(`${word} ${code}: ${show2(fields)}`);
}

const show2 = (fields: object) => JSON.stringify(fields);

async function flood(chat: FaultChat): Promise<void> {
  const bytes = between(0, 5_000_000);
  const fields = await ran(chat, `head -c ${bytes} /dev/urandom`);
  if (fields && fields['stdout_size'] !== bytes)
    throw chat.wrong(`${bytes} bytes: ${show2({ ...fields, stdout: '' })}`);
}

/** What the shell knows stays, or its loss is told. */
async function remember(chat: FaultChat): Promise<void> {
  const read = await ran(chat, 'echo "$mark"');
  if (read === undefined) return;
  const seen = String(read['stdout']).trimEnd();
  const believed = String(chat.mark);
  if (!chat.mark.saw(seen)) throw chat.wrong(`the shell's variable was ${JSON.stringify(seen)}, not ${believed}`);
  const mark = nonce();
  const written = await ran(chat, `mark=${mark}`);
  if (written) chat.mark.know(mark);
  else chat.mark.suspect(mark);
}

/** A file is as it was written last, whatever became of the container; never a part of it, never another's. */
async function file(chat: FaultChat): Promise<void> {
  const since = performance.now();
  const read = await chat.call('download_file', { path: 'note.txt' });
  if (read.kind === 'answered' || (read.kind === 'refused' && read.code === 'not_found')) {
    const seen = read.kind === 'answered' ? String(read.fields['content']) : undefined;
    const believed = String(chat.note);
    if (!chat.note.saw(seen)) throw chat.wrong(`the file holds ${JSON.stringify(seen)}, not ${believed}`);
  } else if (read.kind === 'refused') chat.excuse(since, `a download came to ${show(read)}`);
  await write(chat, since);
}

async function write(chat: FaultChat, since: number): Promise<Outcome> {
  const content = `${nonce()} `.repeat(between(1, 2000));
  const written = await chat.call('upload_file', { path: 'note.txt', content });
  if (written.kind === 'answered') chat.note.know(content);
  else if (written.kind === 'dropped' || written.code !== 'disk_full') chat.note.suspect(content);
  if (written.kind === 'refused') chat.excuse(since, `an upload came to ${show(written)}`);
  return written;
}

/** Nobody else's files, processes or variables are here. */
async function look(chat: FaultChat): Promise<void> {
  const fields = await ran(chat, 'cat secret 2>/dev/null; ls -A; ps axww -o args; env');
  if (fields === undefined) return;
  if (!String(fields['stdout']).startsWith(`${chat.secret}\n`)) {
    const made = await ran(chat, `[ -e secret ] || echo ${chat.secret} >secret; cat secret`);
    if (made && made['stdout'] !== `${chat.secret}\n`) throw chat.wrong(`its secret is ${String(made['stdout'])}`);
  }
}

async function background(chat: FaultChat): Promise<void> {
  const fields = await ran(chat, 'sleep 0.5 & echo begun');
  if (fields && fields['stdout'] !== 'begun\n') throw chat.wrong(show2(fields));
}

async function dies(chat: FaultChat): Promise<void> {
  const fields = await ran(chat, 'kill -9 $$');
  if (fields && fields['exit_code'] !== 137) throw chat.wrong(show2(fields));
}

async function slow(chat: FaultChat): Promise<void> {
  const since = performance.now();
  const outcome = await chat.call('execute_command', { command: 'sleep 20', timeout: 0.5 });
  if (outcome.kind === 'answered' && outcome.fields['status'] === 'timeout') return;
  if (outcome.kind !== 'dropped') chat.excuse(since, `a slow command came to ${show(outcome)}`);
}

async function terminal(chat: FaultChat): Promise<void> {
  const since = performance.now();
  const opened = await chat.call('start_shell_session', {});
  const sessionId = opened.kind === 'answered' ? String(opened.fields['sessionId']) : undefined;
  if (sessionId === undefined) return excuse(chat, since, opened);
  const viewer = random() < 0.5 ? view(chat, sessionId) : undefined;
  const typed = await chat.call('send_shell_input', { sessionId, input: 'echo $((6 * 7))' });
  if (typed.kind !== 'answered') excuse(chat, since, typed);
  const read = await chat.call('read_shell_output', { sessionId, until: '42', wait: 20 });
  if (read.kind !== 'answered' || !String(read.fields['output']).includes('42')) excuse(chat, since, read);
  viewer?.terminate();
  const ended = await chat.call('end_shell_session', { sessionId });
  if (ended.kind !== 'answered') excuse(chat, since, ended);
}

function excuse(chat: FaultChat, since: number, outcome: Outcome): void {
  if (outcome.kind !== 'dropped') chat.excuse(since, `a terminal came to ${show(outcome)}`);
}

/** A viewer that leaves without a word. */
function view(chat: FaultChat, terminal: string): WebSocket {
  const socket = new WebSocket(
    `${chat.world.server.url.replace('http', 'ws')}/sandboxes/${chat.sandbox}/terminals/${terminal}`,
  );
  return socket.on('error', () => {});
}

/** Clients that hang up in the middle of calls, uploads and downloads. */
async function drops(chat: FaultChat): Promise<void> {
  const url = `${chat.world.server.url}/sandboxes/${chat.sandbox}/files`;
  const half = (path: string, init: RequestInit = {}) =>
    fetch(`${url}/${path}`, { ...init, signal: AbortSignal.timeout(between(1, 200)) })
      .then((response) => response.arrayBuffer())
      .catch(() => {});
  await Promise.all([
    chat.hangUp('execute_command', { command: 'sleep 0.2' }, between(1, 300)),
    chat.hangUp('list_files', { path: '.' }, between(1, 50)),
    chat.hangUp('download_file', { path: 'note.txt' }, between(1, 50)),
    half('dropped', { method: 'PUT', body: Buffer.alloc(4_000_000) }),
    half('', { headers: { accept: 'application/x-tar' } }),
  ]);
}

/** The log of the container, which nobody keeps. */
async function logFlood(chat: FaultChat): Promise<void> {
  await ran(chat, '{ head -c 3000000 /dev/zero | tr "\\0" x >/proc/1/fd/1; } 2>/dev/null; true');
}

async function outOfMemory(chat: FaultChat): Promise<void> {
  await chat.world.strike(chat.index, 'out of memory', async () => {
    const fields = await ran(chat, 'python3 -c "x = bytearray(400 << 20)"');
    if (fields && fields['exit_code'] === 0) throw chat.wrong(`got 400 MiB of memory: ${show2(fields)}`);
  });
}

async function forkBomb(chat: FaultChat): Promise<void> {
  await chat.world.strike(chat.index, 'fork bomb', async () => {
    await chat.call('execute_command', { command: ':(){ :|:& };:; sleep 2', timeout: 4 });
    await insist(chat, 'reset_session', { scope: 'container' });
    chat.mark.know('');
  });
}

async function fullDisk(chat: FaultChat): Promise<void> {
  await chat.world.strike(chat.index, 'full workspace', async () => {
    const fields = await ran(chat, 'head -c 100M /dev/zero >big');
    if (fields && fields['exit_code'] === 0) throw chat.wrong(`wrote 100 MiB into 32: ${show2(fields)}`);
    await write(chat, performance.now());
    await insist(chat, 'execute_command', { command: 'rm -f big' });
  });
}

/** Tries until it is answered, for as long as a fault may last. */
async function insist(chat: FaultChat, name: string, args: object): Promise<void> {
  let last: Outcome = { kind: 'dropped' };
  for (let tries = 0; tries < 60; tries += 1) {
    last = await chat.call(name, args);
    if (last.kind === 'answered' && last.fields['status'] !== 'sandbox_lost') return;
    await sleep(1000);
  }
  throw chat.wrong(`${name} did not succeed in a minute: ${show(last)}`);
}

const usual: readonly Deed[] = [compute, compute, remember, remember, file, file, look, flood, background, terminal];
const odd: readonly Deed[] = [dies, slow, drops, logFlood, outOfMemory, forkBomb, fullDisk];

/** Any deed, mostly an innocent one. */
export const anyDeed = (): Deed => (random() < 0.94 ? pick(usual) : pick(odd));

/** Whether everything works for a chat, and what it left is there; for afterwards. Throws a `Wrong` for what is not. */
export async function allIsWell(chat: FaultChat): Promise<boolean> {
  const outcome = await chat.call('execute_command', { command: 'echo well', timeout: 10 });
  if (outcome.kind !== 'answered' || outcome.fields['stdout'] !== 'well\n') return false;
  await file(chat);
  return true;
}
