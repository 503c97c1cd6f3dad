import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pack } from 'tar-stream';

/** A file of an image's build context. */
export interface ContextFile {
  readonly path: string;
  readonly executable: boolean;
  readonly content: Buffer;
}

/**
 * The files of a build context, sorted by path. What is written for people (`*.md`) and what `.dockerignore` names
 * takes no part.
 */
export function readContext(directory: string): readonly ContextFile[] {
  const exclude = ['**/*.md', ...ignored(join(directory, '.dockerignore'))];
  const paths = globSync('**/*', { cwd: directory, exclude }).map((path) => path.replaceAll('\\', '/'));
  return paths
    .toSorted()
    .filter((path) => statSync(join(directory, path)).isFile())
    .map((path) => ({
      path,
      executable: (statSync(join(directory, path)).mode & 0o100) !== 0,
      content: readFileSync(join(directory, path)),
    }));
}

function ignored(file: string): readonly string[] {
  if (!existsSync(file)) return [];
  const patterns = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => /^[^#!\s]/.test(line));
  return patterns.flatMap((line) => [line.trim(), `${line.trim()}/**`]);
}

/** A tag for what comes out of these files on that base: the same for the same, on any machine. */
export function recipeTag(files: readonly ContextFile[], base: string): string {
  const hash = createHash('sha256').update(`${base}\n`);
  for (const { path, executable, content } of files) {
    hash.update(`${JSON.stringify([path, executable, content.length])}\n`).update(content);
  }
  return hash.digest('hex').slice(0, 12);
}

/** The context as the tar stream that an engine builds from. */
export function packContext(files: readonly ContextFile[]): NodeJS.ReadableStream {
  const tar = pack();
  for (const { path, executable, content } of files) {
    tar.entry({ name: path, mode: executable ? 0o755 : 0o644, mtime: new Date(0) }, content);
  }
  tar.finalize();
  return Readable.from(tar);
}
