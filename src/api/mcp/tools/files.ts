import { createHash } from 'node:crypto';
import type { ContentBlock } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { AppError } from '../../../errors.ts';
import type { FileEntry, OpenFile } from '../../../sandbox/ports/workspace.ts';
import { changes, reads } from '../annotations.ts';
import { bytesOf, wellFormed } from '../arguments.ts';
import { cutAtEnd, cutAtStart } from '../../../lib/bytes.ts';
import { defineTool } from '../define-tool.ts';
import { imageType } from '../image-type.ts';
import { byteSize, oneLine } from '../../../lib/text.ts';

const KiB = 1024;
const defaultLength = 256 * KiB;
const maxLength = 4096 * KiB;

const path = wellFormed(z.string().min(1).max(4096)).describe('Relative paths are under /workspace.');
const encoding = z.enum(['utf-8', 'base64']).optional();

const uploadFile = defineTool({
  name: 'upload_file',
  title: 'Write a file',
  description:
    'Write a whole file into the sandbox with exactly this content, in place of one that is there; missing directories are made. Use base64 for anything that is not text. To change a part of a file use edit_file; files of many megabytes go over HTTP, PUT /sandboxes/{id}/files/{path}.',
  input: {
    path,
    content: z.string().describe('The file’s content, as encoding says.'),
    encoding: encoding.describe('utf-8 when left out.'),
    mode: z
      .string()
      .regex(/^0?[0-7]{3}$/, 'octal permission bits like "755"')
      .optional()
      .describe('Permission bits, e.g. "755".'),
  },
  annotations: changes({ destructive: true, idempotent: true }),
  async handle(args, call) {
    if ((args.encoding ?? 'utf-8') === 'utf-8' && !args.content.isWellFormed())
      throw new AppError(
        'invalid_argument',
        '`content` must be well-formed Unicode text, got half a surrogate pair; send such bytes as base64.',
      );
    const bytes = bytesOf(args.content, args.encoding ?? 'utf-8');
    const { files } = await call.workspace();
    const written = await files.write(args.path, streamOf(bytes), {
      size: bytes.length,
      signal: call.signal,
      ...(args.mode !== undefined && { mode: Number.parseInt(args.mode, 8) }),
    });
    const { path, size, sha256 } = written;
    return {
      structured: { path, size, sha256 },
      text: `Wrote ${path}, sha256 ${sha256}.`,
      status: ['written', `${size} bytes`],
    };
  },
});

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}

const downloadFile = defineTool({
  name: 'download_file',
  title: 'Read a file',
  description: `Read a file, or the part of it that offset and length say (bytes; at most ${byteSize(maxLength)} at once). Without encoding, text comes as utf-8 and anything else as base64; the result says which. A longer file has truncated true and next_offset. sha256 is that of the bytes returned. To look at a picture pass as_image. To find a text in files use search_files, or execute_command with rg.`,
  input: {
    path,
    encoding: encoding.describe('How content is given; left out: utf-8 if it is text, else base64.'),
    offset: z.int().min(0).optional().describe('First byte; 0 when left out.'),
    length: z.int().min(1).max(maxLength).optional().describe(`Bytes to read; ${defaultLength} when left out.`),
    as_image: z.boolean().optional().describe('Give a PNG, JPEG, GIF or WebP file as a picture.'),
  },
  annotations: reads(),
  async handle(args, call) {
    const { files } = await call.workspace();
    await using file = await files.open(args.path, call.signal);
    if (file.stat.type !== 'file') throw new AppError('invalid_argument', notAFile(file));
    return await (args.as_image ? asImage(file) : asContent(file, args));
  },
});

function notAFile({ stat }: OpenFile): string {
  const kind = stat.type === 'directory' ? 'a directory; use list_files' : 'no regular file';
  return `\`path\` must name a file, and ${oneLine(stat.path)} is ${kind}.`;
}

interface ContentRequest {
  readonly encoding?: 'utf-8' | 'base64' | undefined;
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
}

async function asContent(file: OpenFile, args: ContentRequest) {
  const { path } = file.stat;
  const wanted = args.length ?? defaultLength;
  const read = await readAll(file.read({ offset: args.offset ?? 0, length: wanted }));
  // A file that the kernel makes says 0: what has come is all that is known of it, and a full part may not be its last.
  const size = file.stat.size || (read.length > 0 ? (args.offset ?? 0) + read.length : 0);
  const offset = Math.min(args.offset ?? 0, size);
  const open = file.stat.size === 0 && read.length === wanted;
  const more = open || offset + read.length < size;
  const { content, encoding, bytes } = encode(read, args.encoding, { more, path, offset });
  const next = offset + bytes.length;
  const truncated = open || next < size;
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const range = truncated || offset > 0 ? [`bytes ${offset}–${next} of ${size}`] : [`${size} bytes`];
  return {
    structured: { path, content, encoding, size, sha256, truncated, offset, ...(truncated && { next_offset: next }) },
    text: content,
    notes: truncated ? [`the file goes on; call again with offset ${next}`] : [],
    status: [path, encoding, ...range, `sha256 ${sha256}`],
  };
}

interface Part {
  /** The file goes on behind it. */
  readonly more: boolean;
  readonly path: string;
  readonly offset: number;
}

/** Text ends at a whole character where the file goes on. */
function encode(read: Uint8Array, wanted: 'utf-8' | 'base64' | undefined, { more, path, offset }: Part) {
  if (wanted !== 'base64') {
    const bytes = more ? read.subarray(0, read.length - cutAtEnd(read)) : read;
    const content = utf8(bytes);
    if (content !== undefined) return { content, encoding: 'utf-8' as const, bytes };
    if (wanted) throw notText(bytes, path, offset);
  }
  return { content: Buffer.from(read).toString('base64'), encoding: 'base64' as const, bytes: read };
}

/** A part of a text that begins inside a character is no text, though the file is. */
function notText(bytes: Uint8Array, path: string, offset: number): AppError {
  const cut = offset > 0 ? cutAtStart(bytes) : 0;
  const why =
    cut > 0 && utf8(bytes.subarray(cut)) !== undefined
      ? `\`offset\` must be the first byte of a character for utf-8: ${offset} is inside one, the next begins at ${offset + cut}.`
      : `\`encoding\` must be base64 here: ${oneLine(path)} is not UTF-8 text.`;
  return new AppError('invalid_argument', why);
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

/** As image content for clients that show it and as an embedded resource for those that hand it to the model. */
async function asImage(file: OpenFile) {
  const { path, size } = file.stat;
  if (size > maxLength)
    throw new AppError(
      'too_large',
      `${oneLine(path)} has ${size} bytes; pictures of at most ${byteSize(maxLength)} can be shown.`,
    );
  const bytes = await readAll(file.read({ offset: 0, length: size }));
  const mimeType = imageType(bytes);
  if (!mimeType)
    throw new AppError(
      'invalid_argument',
      `\`as_image\` needs a PNG, JPEG, GIF or WebP file, and ${oneLine(path)} is none.`,
    );
  const data = Buffer.from(bytes).toString('base64');
  const uri = `file://${path.split('/').map(encodeURIComponent).join('/')}`;
  const content: ContentBlock[] = [
    { type: 'image', data, mimeType },
    { type: 'resource', resource: { uri, mimeType, blob: data } },
  ];
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const structured = { path, encoding: 'image', mime_type: mimeType, size, sha256, truncated: false };
  return { structured, content, text: `The picture ${path} is attached.`, status: [mimeType, `${size} bytes`] };
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
}

const listFiles = defineTool({
  name: 'list_files',
  title: 'List a directory',
  description:
    'What is in a directory: type, permissions, size, time and name of each entry. depth goes into subdirectories; glob (like *.py or src/**/*.ts) picks names.',
  input: {
    path: path.optional().describe('/workspace when left out.'),
    depth: z.int().min(1).max(64).optional().describe('Levels to go down; 1 when left out.'),
    glob: wellFormed(z.string().min(1).max(1024)).optional().describe('Only entries whose path fits.'),
  },
  annotations: reads(),
  async handle(args, call) {
    const { files } = await call.workspace();
    const directory = args.path ?? '/workspace';
    const { entries, truncated } = await files.list(directory, {
      signal: call.signal,
      ...(args.depth !== undefined && { depth: args.depth }),
      ...(args.glob !== undefined && { glob: args.glob }),
    });
    return {
      structured: { path: directory, entries: entries.map(entryFields), truncated },
      text: entries.map(entryLine).join('\n'),
      notes: truncated
        ? [`only the first ${entries.length} entries are listed; narrow it with path, depth or glob`]
        : [],
      status: [entries.length === 1 ? '1 entry' : `${entries.length} entries`, directory],
    };
  },
});

function entryFields({ path, type, size, mtime, mode, target }: FileEntry) {
  const permissions = mode.toString(8).padStart(4, '0');
  return {
    path,
    type,
    size,
    mtime: new Date(mtime * 1000).toISOString(),
    mode: permissions,
    ...(target !== undefined && { target }),
  };
}

/** As `ls -l` writes it, without owners: `-rw-r--r--  1.2 KiB  2026-01-31 12:00  name`. */
function entryLine(entry: FileEntry): string {
  const time = new Date(entry.mtime * 1000).toISOString().slice(0, 16).replace('T', ' ');
  const suffix = entry.type === 'directory' ? '/' : entry.target === undefined ? '' : ` -> ${entry.target}`;
  const size = entry.type === 'directory' ? '-' : byteSize(entry.size);
  return `${typeLetters[entry.type]}${permissionLetters(entry.mode)} ${size.padStart(10)}  ${time}  ${oneLine(entry.path + suffix, 4096)}`;
}

const typeLetters = { file: '-', directory: 'd', symlink: 'l', other: '?' };

function permissionLetters(mode: number): string {
  return [6, 3, 0]
    .map((shift) => ['r', 'w', 'x'].map((letter, bit) => ((mode >> shift) & (4 >> bit) ? letter : '-')).join(''))
    .join('');
}

const editFile = defineTool({
  name: 'edit_file',
  title: 'Change a part of a file',
  description:
    'Replace old_text by new_text in a text file. old_text must occur exactly as written, once; give enough of the lines around it, or pass all to replace every occurrence. Nothing changes when it does not fit. Shows the lines around each change.',
  input: {
    path,
    old_text: wellFormed(z.string().min(1)).describe('Text to find, exactly.'),
    new_text: wellFormed(z.string()).describe('Text to put in its place; may be empty.'),
    all: z.boolean().optional().describe('Replace every occurrence.'),
  },
  annotations: changes({ destructive: true }),
  async handle(args, call) {
    const { files } = await call.workspace();
    const options = { all: args.all ?? false, signal: call.signal };
    const { path, count, lines } = await files.edit(args.path, args.old_text, args.new_text, options);
    return {
      structured: { path, count, lines },
      text: lines.map(({ from, text }) => numbered(from, text)).join('\n…\n'),
      status: [count === 1 ? '1 replacement' : `${count} replacements`, path],
    };
  },
});

function numbered(from: number, text: string): string {
  return text
    .replace(/\n$/, '')
    .split('\n')
    .map((line, index) => `${String(from + index).padStart(5)}  ${line}`)
    .join('\n');
}

export const fileTools = [uploadFile, downloadFile, listFiles, editFile];
