import { pino, type DestinationStream, type Logger } from 'pino';

export type { Logger };

export interface LogSettings {
  readonly level: string;
  readonly format: 'json' | 'pretty';
}

/** Fields that never reach a log, wherever they are put. */
const secretFields = ['authorization', 'token', 'secret', 'password', 'key_secret', 'cookie', 'sig', 'signature'];
const redact = {
  paths: [
    ...secretFields,
    ...secretFields.map((field) => `*.${field}`),
    ...secretFields.map((field) => `*.*.${field}`),
  ],
  censor: '[redacted]',
};

/** The server's logger: one JSON object per line, or one readable line with `pretty`. Writes to standard error by default. */
export function createLogger(settings: LogSettings, destination: DestinationStream = pino.destination(2)): Logger {
  const stream = settings.format === 'pretty' ? prettyTo(destination) : destination;
  return pino(
    { level: settings.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact, formatters },
    stream,
  );
}

const formatters = { level: (label: string) => ({ level: label }) };

function prettyTo(destination: DestinationStream): DestinationStream {
  return { write: (line: string) => destination.write(prettyLine(line)) };
}

function prettyLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const details = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`);
  const stack = (err as { stack?: string } | undefined)?.stack;
  const head = `${String(time).slice(11, 23)} ${String(level).toUpperCase().padEnd(5)} ${String(msg ?? '')}`;
  return `${[head, ...details].join(' ')}\n${stack ? `${stack}\n` : ''}`;
}

function plain(value: unknown): string {
  return typeof value === 'string' && /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
}
