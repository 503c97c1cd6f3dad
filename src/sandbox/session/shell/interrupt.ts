import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from './command.ts';
import * as request from '../wire/request.ts';

type Send = (...frames: Uint8Array[]) => void;

/** Milliseconds that each step has before the next one. */
const step = 700;
/** Milliseconds until the shell has gone on after a process that TERM or KILL ended. */
const again = 50;
/** Tries to end the shell itself before its silence is accepted. */
const lastTries = 4;

/**
 * Ends a running command and keeps the shell where it can: INT to the shell first, so that it does not go on to the
 * command's next line, then INT, TERM, KILL to the processes. What the command left in the background is killed with
 * it. The last resort ends the shell. Resolves when the shell has reported, or does not answer.
 */
export async function interrupt(command: Command, send: Send): Promise<void> {
  const { channel } = command;
  for (const name of ['INT', 'TERM', 'KILL'] as const) {
    if (await strike(command, name, send)) return send(request.signal(channel, 'KILL', 'tree'));
  }
  for (let tries = 0; tries < lastTries; tries++) {
    send(request.signal(channel, 'KILL', 'first'));
    if (await reportsWithin(command, step)) return;
  }
}

/** Whether the command ended by this signal. bash goes on when a process outlived INT and died of another signal: it is told again. */
async function strike(command: Command, name: 'INT' | 'TERM' | 'KILL', send: Send): Promise<boolean> {
  const { channel } = command;
  const interruptShell = request.signal(channel, 'INT', 'first');
  send(interruptShell, request.signal(channel, name, 'tree'));
  if (name === 'INT') return await reportsWithin(command, step);
  if (await reportsWithin(command, again)) return true;
  send(interruptShell, request.signal(channel, 'INT', 'tree'));
  return await reportsWithin(command, step - again);
}

/** Whether the shell reports the command's end within so many milliseconds. */
export async function reportsWithin(command: Command, milliseconds: number): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(milliseconds, false, { signal: timer.signal, ref: false }).catch(() => false);
  const inTime = await Promise.race([command.reported.then(() => true), late]);
  timer.abort();
  return inTime;
}
