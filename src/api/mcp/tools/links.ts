import { z } from 'zod';
import { AppError } from '../../../errors.ts';
import { changes, reads } from '../annotations.ts';
import { resolvePath } from '../../../sandbox/files/paths.ts';
import { wellFormed } from '../arguments.ts';
import { defineTool } from '../define-tool.ts';
import { byteSize, oneLine } from '../../../lib/text.ts';

const day = 86_400;

const expires = z
  .int()
  .min(60)
  .max(30 * day)
  .optional()
  .describe('Seconds the link works; 86400 (a day) when left out, at most 30 days.');

const shareFile = defineTool({
  name: 'share_file',
  title: 'Make a download link',
  description:
    'Make a link by which the user can open or download a file of the sandbox in a browser; a directory is downloaded as a tar archive. Use it to hand over results: give the user the link exactly as it is. Pictures, PDF, text and HTML open in the browser, and a picture can be shown in the chat as ![name](link). Whoever has the link can read that file until it expires.',
  input: {
    path: wellFormed(z.string().min(1).max(4096)).describe('Relative paths are under /workspace.'),
    expires,
  },
  annotations: reads({ idempotent: false }),
  async handle(args, call) {
    const { files, handle } = await call.workspace();
    const { path, type, size } = await files.stat(args.path, call.signal);
    if (type !== 'file' && type !== 'directory')
      throw new AppError(
        'invalid_argument',
        `\`path\` must name a file or a directory, and ${oneLine(path)} is neither.`,
      );
    const link = call.link('share', handle, path, args.expires ?? day);
    const what = type === 'directory' ? 'tar of a directory' : byteSize(size);
    return {
      structured: { path, type, size, url: link.url, expires: link.expires },
      text: link.url,
      notes: link.notes,
      status: [path, what, `link until ${link.expires}`],
    };
  },
});

const requestUpload = defineTool({
  name: 'request_upload',
  title: 'Ask for files',
  description:
    'Make a link to a page on which the user can drop files of any size; they land in a directory of the sandbox. Use it when you need a file that the user has. Give the user the link exactly as it is, and wait until the user says that the upload is done; then look with list_files.',
  input: {
    directory: wellFormed(z.string().min(1).max(4096))
      .optional()
      .describe('Where the files go; /workspace when left out.'),
    expires,
  },
  annotations: changes({ idempotent: true }),
  async handle(args, call) {
    const { files, handle } = await call.workspace();
    const directory = await existing(args.directory ?? '/workspace', (path) => files.stat(path, call.signal));
    const link = call.link('upload', handle, directory, args.expires ?? day);
    return {
      structured: { directory, url: link.url, expires: link.expires },
      text: link.url,
      notes: link.notes,
      status: [`uploads go to ${directory}`, `link until ${link.expires}`],
    };
  },
});

/** The directory's full path. It is made by the first upload if it is not there. */
async function existing(
  path: string,
  stat: (path: string) => Promise<{ readonly path: string; readonly type: string }>,
): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    if (error instanceof AppError && error.code === 'not_found') return undefined;
    throw error;
  });
  if (found && found.type !== 'directory')
    throw new AppError('invalid_argument', `\`directory\` must name a directory, and ${oneLine(found.path)} is none.`);
  return found?.path ?? resolvePath('/workspace', path);
}

export const linkTools = [shareFile, requestUpload];
