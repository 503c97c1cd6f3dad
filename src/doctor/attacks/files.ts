import { existsSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pack, type Header } from 'tar-stream';
import { type Attack, otherImage, type Target, unless, untried } from '../attack.ts';
import { script } from '../exec.ts';

/** Nobody else's files have these names, in a sandbox or on the host. */
const linked = 'berth-doctor-followed-a-link';
const packed = 'berth-doctor-unpacked-a-tar';
const advice = 'This is a fault of Berth; report it, and set `tools.enabled` without the file tools until then.';

const unwritable = 'See to it that the sandboxes’ user can write to the workspace.';

const bytes = (text: string): ReadableStream<Uint8Array> => new Blob([text]).stream();
/** What is beyond the sandbox must not be in what a caller is told. */
const telling = /\/var\/lib\/docker|overlay2?\/|\/proc\/\d+\/root/;

/** The message of the refusal; `undefined` when it was not refused. */
async function refusal(attempt: Promise<unknown>): Promise<string | undefined> {
  return await attempt.then(
    () => undefined,
    (error: Error) => error.message,
  );
}

/** Where the file landed besides the workspace. */
async function landed({ container }: Target, name: string, signal: AbortSignal): Promise<string[]> {
  const inside = ['/etc', '', '/opt/berth', '/var', '/root'].map((directory) => `${directory}/${name}`);
  const { output } = await script(container, 'for f; do [[ -e $f || -L $f ]] && echo "$f"; done', {
    args: inside,
    signal,
  });
  const here = inside.filter((path) => existsSync(path)).map((path) => `${path} was written on the host`);
  return [
    ...output
      .split('\n')
      .filter(Boolean)
      .map((path) => `${path} was written`),
    ...here,
  ];
}

const links: Attack = {
  name: 'symlinks',
  meaning: "A file tool follows a link out of the sandbox's own rights.",
  advice,
  async run(target, signal) {
    const make = `
      command -v ln > /dev/null || exit 3
      cd /workspace && ln -sfn /etc etc && ln -sfn /proc/1 one && ln -sfn loop loop && [[ -L etc ]]`;
    const { code } = await script(target.container, make, { signal });
    if (code === 3) return untried('the image has no ln', otherImage);
    if (code !== 0) return untried('no link can be made in the workspace', unwritable);
    const { files } = target.workspace;
    // What works without a link, so that a refusal says something of links.
    await files.write('/workspace/doctor-control', bytes('x'), { signal });
    const writes = [`/workspace/etc/${linked}`, `/workspace/one/root/etc/${linked}`, `/workspace/etc/../${linked}`];
    const told: string[] = [];
    for (const path of writes) told.push((await refusal(files.write(path, bytes('x'), { signal }))) ?? '');
    const secrets = ['one/environ', 'one/mem', 'etc/shadow', 'loop'];
    const opens = 'cd /workspace; for f; do (: < "$f") 2> /dev/null && echo "$f"; done';
    const own = (await script(target.container, opens, { args: secrets, signal })).output.split('\n');
    for (const path of secrets.filter((path) => !own.includes(path))) {
      const message = await refusal(
        files.read(`/workspace/${path}`, { signal }).then((stream) => new Response(stream).text()),
      );
      told.push(message ?? `${path} was read`);
    }
    const leaks = told.filter((message) => telling.test(message) || message.endsWith(' was read'));
    return unless([...(await landed(target, linked, signal)), ...leaks], 'none leads out');
  },
};

/** Archives, each with something that must not come out of it. */
const archives: Readonly<Record<string, readonly Partial<Header>[]>> = {
  'a name with ..': [{ name: `../${packed}` }],
  'an absolute name': [{ name: `/etc/${packed}` }],
  'a file through a link': [{ name: 'out', type: 'symlink', linkname: '/etc' }, { name: `out/${packed}` }],
  'a hard link': [{ name: 'hard', type: 'link', linkname: '/etc/shadow' }],
  'a device': [{ name: 'disk', type: 'block-device', devmajor: 8, devminor: 0 }],
};

const tars: Attack = {
  name: 'tar archives',
  meaning: 'An uploaded archive writes beyond the place it is unpacked to, or brings a device or a setuid file.',
  advice,
  async run(target, signal) {
    const { files } = target.workspace;
    await files.unpack('/workspace/tar', archive([{ name: 'control' }]), signal);
    const { code } = await script(target.container, '[[ -f /workspace/tar/control ]]', { signal });
    if (code !== 0) return untried('an archive without anything evil is not unpacked either', unwritable);
    const found: string[] = [];
    for (const [what, entries] of Object.entries(archives)) {
      const message = await refusal(files.unpack('/workspace/tar', archive(entries), signal));
      if (message !== undefined && telling.test(message)) found.push(`the refusal of ${what} tells of the host`);
    }
    await refusal(files.unpack('/workspace/tar', archive([{ name: 'suid', mode: 0o4755, uid: 0 }]), signal));
    const text = `
      shopt -s globstar dotglob
      for f in /workspace/tar/**; do [[ -b $f || -c $f ]] && echo "$f is a device"; [[ -u $f ]] && echo "$f is setuid"
        [[ $f -ef /etc/shadow && ! -L $f ]] && echo "$f is a hard link"; done`;
    const { output } = await script(target.container, text, { signal });
    return unless(
      [...found, ...(await landed(target, packed, signal)), ...output.split('\n').filter(Boolean)],
      'all refused or made harmless',
    );
  },
};

function archive(entries: readonly Partial<Header>[]): ReadableStream<Uint8Array> {
  const tar = pack();
  for (const entry of entries) tar.entry({ name: 'x', mode: 0o644, uid: 0, gid: 0, ...entry }, entry.type ? '' : 'x');
  tar.finalize();
  return Readable.toWeb(Readable.from(tar)) as ReadableStream<Uint8Array>;
}

export const fileAttacks = [links, tars] as const;
