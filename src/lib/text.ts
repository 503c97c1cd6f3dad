/**
 * Terminal escape sequences: control sequences, strings such as titles and links up to the end of their line, and short
 * ones. What was looked at is always taken, with its end or without: the time is linear in whatever a program writes.
 */
const escapes =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]/g;
const controls = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/**
 * Text for a reader: terminal escape sequences are removed, and what is left of control characters, newline, tab and
 * carriage return apart, is shown as a picture (`␀` for NUL). Some clients cannot store a NUL at all.
 */
export function readable(text: string): string {
  return text.replace(escapes, '').replace(controls, picture);
}

/**
 * The text as a screen would leave it where lines are written over: of each line what stands after its last carriage
 * return. Those at the end of a line begin no frame.
 */
export function lastFrames(text: string): string {
  if (!text.includes('\r')) return text;
  return text.split('\n').map(lastFrame).join('\n');
}

function lastFrame(line: string): string {
  let end = line.length;
  while (line[end - 1] === '\r') end -= 1;
  return end === 0 ? line : line.slice(line.lastIndexOf('\r', end - 1) + 1);
}

/** One line, for a status line or a log. */
export function oneLine(text: string, limit = 200): string {
  const line = readable(text.slice(0, limit * 2)).replace(/[\r\n\t]+/g, ' ');
  return line.length > limit ? `${line.slice(0, limit)}…` : line;
}

function picture(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? '␡' : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** `1,234,567`. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** The exact line that stands where bytes are left out. */
export function omissionLine(bytes: number): string {
  return `[… ${grouped(bytes)} bytes omitted …]`;
}

/** Joins parts, each beginning on a line of its own; empty ones are left out. */
export function lines(...parts: readonly (string | undefined)[]): string {
  let text = '';
  for (const part of parts) {
    if (!part) continue;
    text += text === '' || text.endsWith('\n') ? part : `\n${part}`;
  }
  return text;
}

export function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

/** `1,234 bytes`, or a round figure besides: `5.0 MiB`. */
export function byteSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}
