import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/** A connection to make: `text` is sent, and its name told once an answer begins, or at once where none is `awaited`. */
export interface FarCall {
  readonly name: string;
  readonly text: string;
  readonly awaited: boolean;
  /** Reads no more than the beginning. */
  readonly stalls: boolean;
}

// Makes connections from wherever it runs, to the host and port of its arguments: a `FarCall` on each line.
if (import.meta.main) {
  const [host = '', port] = process.argv.slice(2);
  for await (const line of createInterface({ input: process.stdin })) {
    const { name, text, awaited, stalls } = JSON.parse(line) as FarCall;
    const socket = connect(Number(port), host, () => {
      socket.write(text);
      if (!awaited) console.log(name);
    });
    socket.on('error', () => {});
    socket.once('data', () => {
      if (stalls) socket.pause();
      if (awaited) console.log(name);
    });
  }
}
