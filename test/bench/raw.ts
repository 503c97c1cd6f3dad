import type { Readable } from 'node:stream';
import Docker from 'dockerode';

const docker = new Docker();

/** A plain container beside Berth's, for baselines: what the engine alone costs. */
export class RawContainer implements AsyncDisposable {
  readonly container: Docker.Container;

  private constructor(container: Docker.Container) {
    this.container = container;
  }

  static async start(image = 'berth/data:latest'): Promise<RawContainer> {
    const container = await docker.createContainer({
      Image: image,
      Entrypoint: [],
      Cmd: ['sleep', 'infinity'],
      Labels: { 'berth.bench': 'raw' },
      HostConfig: { NetworkMode: 'none', Init: true, LogConfig: { Type: 'none', Config: {} } },
    });
    await container.start();
    return new RawContainer(container);
  }

  /** An exec whose output is read to its end; the bytes on the wire. */
  async exec(command: readonly string[]): Promise<number> {
    const exec = await this.container.exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true });
    const stream = (await exec.start({ hijack: true, stdin: false })) as unknown as Readable;
    let bytes = 0;
    for await (const chunk of stream) bytes += (chunk as Buffer).length;
    return bytes;
  }

  /** A bash that stays, over one exec stream; each line comes back once it has printed its marker. */
  async bash(): Promise<(command: string) => Promise<void>> {
    const options = { Cmd: ['bash'], AttachStdin: true, AttachStdout: true, AttachStderr: true };
    const exec = await this.container.exec(options);
    const stream = await exec.start({ hijack: true, stdin: true });
    return (command) =>
      new Promise((done) => {
        stream.once('data', () => done());
        stream.write(`${command}; echo marker\n`);
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.container.remove({ force: true });
  }
}
