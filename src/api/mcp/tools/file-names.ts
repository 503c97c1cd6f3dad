import { z } from 'zod';
import type { FileMatch } from '../../../sandbox/ports/workspace.ts';
import { changes, reads } from '../annotations.ts';
import { wellFormed } from '../arguments.ts';
import { defineTool } from '../define-tool.ts';
import { oneLine } from '../../../lib/text.ts';

const path = wellFormed(z.string().min(1).max(4096)).describe('Relative paths are under /workspace.');

const moveFile = defineTool({
  name: 'move_file',
  title: 'Move or rename',
  description: 'Give a file or directory another name or place. Nothing that is there is overwritten.',
  input: { from: path, to: path.describe('The whole new path; its directory must be there.') },
  annotations: changes(),
  async handle(args, call) {
    const { files } = await call.workspace();
    const moved = await files.move(args.from, args.to, call.signal);
    return { structured: { ...moved }, text: `Moved ${moved.from} to ${moved.to}.`, status: ['moved'] };
  },
});

const removeFile = defineTool({
  name: 'remove_file',
  title: 'Remove a file',
  description: 'Remove a file, a link or an empty directory; with recursive a directory and all in it, for good.',
  input: { path, recursive: z.boolean().optional().describe('Remove a directory with all in it.') },
  annotations: changes({ destructive: true }),
  async handle(args, call) {
    const { files } = await call.workspace();
    const options = { recursive: args.recursive ?? false, signal: call.signal };
    const { path, type } = await files.remove(args.path, options);
    return { structured: { path, type }, text: `Removed the ${nouns[type]} ${path}.`, status: ['removed'] };
  },
});

const nouns = { file: 'file', directory: 'directory', symlink: 'link', other: 'special file' };

const makeDirectory = defineTool({
  name: 'make_directory',
  title: 'Make a directory',
  description: 'Make a directory and those above it. upload_file makes the directories that it needs by itself.',
  input: { path },
  annotations: changes(),
  async handle(args, call) {
    const { files } = await call.workspace();
    const { path } = await files.makeDirectory(args.path, call.signal);
    return { structured: { path }, text: `Made ${path}.`, status: ['made'] };
  },
});

const searchFiles = defineTool({
  name: 'search_files',
  title: 'Search files',
  description:
    'Find files by a text in their names or lines, in whatever case; it is no pattern. Binary files and those over 1 MiB are found by name only. For patterns use execute_command with rg.',
  input: {
    query: wellFormed(z.string().min(1).max(500)).describe('The text, of one line.'),
    path: path.optional().describe('Where to search; /workspace when left out.'),
    names: z.boolean().optional().describe('Look at names; true when left out.'),
    content: z.boolean().optional().describe('Look into files; true when left out.'),
    hidden: z.boolean().optional().describe('What begins with a dot, too.'),
    limit: z.int().min(1).max(1000).optional().describe('Files to give; 100 when left out.'),
  },
  annotations: reads(),
  async handle({ query, path = '/workspace', ...options }, call) {
    const { files } = await call.workspace();
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    const { matches, truncated } = await files.search(query, { ...given, path, signal: call.signal });
    return {
      structured: { path, matches, truncated },
      text: matches.map(matchLines).join('\n'),
      notes: truncated ? ['there is more; narrow it with path, names or content, or raise limit'] : [],
      status: [matches.length === 1 ? '1 file' : `${matches.length} files`, path],
    };
  },
});

function matchLines({ path, lines }: FileMatch): string {
  const name = oneLine(path, 4096);
  return [name, ...lines.map(({ line, text }) => `${String(line).padStart(5)}  ${oneLine(text, 400)}`)].join('\n');
}

export const fileNameTools = [moveFile, removeFile, makeDirectory, searchFiles];
