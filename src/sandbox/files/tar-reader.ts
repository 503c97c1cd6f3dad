import { extract, type Extract } from 'tar-stream';
import { AppError } from '../../errors.ts';

/** Bytes of the largest extended header: a name, a link's target, and attributes, of which none is kept. */
const longestExtension = 64 * 1024;
/** What of a pax header is said of an entry's bytes and names. */
const kept = /^(path|linkpath|size|GNU\.sparse\..+)$/;

type Pax = Record<string, string>;

/** The part of tar-stream's reader that takes extended headers; a test of long names holds it to that. */
interface Inner {
  readonly _header: { readonly type: string };
  _pax: Pax | null;
  _decodeLongHeader(bytes: Buffer): void;
}

/**
 * Reads a tar archive of any dialect. Names come as their bytes, one character each (`latin1`): not all of them are
 * UTF-8. Extended headers are bounded, and of pax only what concerns bytes and names is taken.
 */
export function tarReader(): Extract {
  const options = { allowUnknownFormat: true, filenameEncoding: 'latin1' };
  const reader = extract(options as Parameters<typeof extract>[0]);
  const inner = reader as unknown as Inner;
  const decodeName = inner._decodeLongHeader.bind(inner);
  inner._decodeLongHeader = (bytes) => {
    if (bytes.length > longestExtension) throw tooLong(bytes.length);
    const { type } = inner._header;
    if (type === 'pax-header') inner._pax = paxOf(bytes);
    else if (type === 'pax-global-header') checkGlobal(bytes);
    else decodeName(bytes);
  };
  return reader;
}

/** A global header is of all entries behind it; `git archive` puts a comment into one. */
function checkGlobal(bytes: Buffer): void {
  const [key] = Object.keys(paxOf(bytes));
  if (key === undefined) return;
  const message = `The archive's global header gives ${key} to all entries, which is not supported; nothing was unpacked.`;
  throw new AppError('invalid_argument', message);
}

/** The records `LENGTH KEY=VALUE\n`, where LENGTH counts all of them. */
function paxOf(bytes: Buffer): Pax {
  const pax: Pax = {};
  for (let at = 0; at < bytes.length;) {
    const digits = /^\d{1,6}(?= )/.exec(bytes.toString('latin1', at, at + 7))?.[0] ?? '';
    const end = at + Number(digits);
    const equals = bytes.indexOf('=', at);
    if (digits === '' || equals < 0 || equals >= end || end > bytes.length) throw new Error('a malformed pax header');
    const key = bytes.toString('latin1', at + digits.length + 1, equals);
    if (kept.test(key)) pax[key] = bytes.toString('latin1', equals + 1, end - 1);
    at = end;
  }
  return pax;
}

function tooLong(length: number): AppError {
  const message = `The archive's extended headers must have at most ${longestExtension} bytes each; one has ${length}. Nothing was unpacked.`;
  return new AppError('invalid_argument', message);
}
