import { z } from 'zod';
import { AppError } from '../../../errors.ts';
import { changes } from '../annotations.ts';
import { wellFormed } from '../arguments.ts';
import { defineTool } from '../define-tool.ts';
import { byteSize, oneLine } from '../../../lib/text.ts';

const fetchAttachments = defineTool({
  name: 'fetch_attachments',
  title: 'Fetch the chat’s attachments',
  description:
    'Copy the files that the user attached to this chat into a directory of the sandbox, as they are. Use it when the user speaks of a file that was sent with a message; files that are there already come again, in place of those of the same name.',
  input: {
    directory: wellFormed(z.string().min(1).max(4096))
      .optional()
      .describe('Where the files go; /workspace/attachments when left out.'),
    names: z.array(z.string().max(255)).max(200).optional().describe('Only files of these names.'),
  },
  annotations: changes({ idempotent: true }),
  async handle(args, call) {
    if (!call.chat)
      throw new AppError(
        'unsupported',
        'This connection does not carry the user’s own token and a chat, so that attachments cannot be reached; use request_upload.',
      );
    const attached = await call.chat.attachments(call.signal);
    const wanted = attached.filter(({ name }) => args.names?.includes(name) ?? true);
    const { files } = await call.workspace();
    const written: { name: string; path: string; size: number }[] = [];
    for (const { id, name } of distinct(wanted)) {
      const body = await call.chat.content(id, call.signal);
      const options = { limit: call.config.server.upload_limit, signal: call.signal };
      const { path, size } = await files.write(`${args.directory ?? 'attachments'}/${name}`, body, options);
      written.push({ name, path, size });
    }
    return {
      structured: { files: written, attached: attached.map(({ name }) => name) },
      text: written.map(({ path, size }) => `${oneLine(path)}  ${byteSize(size)}`).join('\n'),
      status: [written.length === 1 ? '1 file' : `${written.length} files`, `${attached.length} attached to the chat`],
    };
  },
});

/** As file names: without slashes, and no two the same. */
function distinct(attached: readonly { readonly id: string; readonly name: string }[]) {
  const taken = new Set<string>();
  return attached.map(({ id, name }) => {
    const plain = name
      .replace(/[/\0]/g, '_')
      .replace(/^\.{1,2}$/, '_')
      .slice(-120);
    const free = taken.has(plain) ? `${id.slice(0, 8)}-${plain}` : plain;
    taken.add(free);
    return { id, name: free };
  });
}

export const attachmentTools = [fetchAttachments];
