const highWaterMark = 64 * 1024;

/** A web stream's writing end that makes its writer wait while nobody reads, and swallows everything once cancelled. */
export class Outlet {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  #open = true;
  #wake = () => {};

  constructor() {
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    this.stream = new ReadableStream(
      {
        start: (given) => void (controller = given),
        pull: () => this.#wake(),
        cancel: () => this.#shut(),
      },
      { highWaterMark, size: (chunk) => chunk.byteLength },
    );
    this.#controller = controller;
  }

  /** Resolves when the reader has room again; at once when it has cancelled. */
  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#open) return;
    this.#controller.enqueue(bytes);
    while (this.#open && (this.#controller.desiredSize ?? 1) <= 0)
      await new Promise<void>((done) => (this.#wake = done));
  }

  close(): void {
    if (this.#open) this.#controller.close();
    this.#shut();
  }

  /** What is queued is dropped; the reader gets the error. */
  fail(error: Error): void {
    if (this.#open) this.#controller.error(error);
    this.#shut();
  }

  #shut(): void {
    this.#open = false;
    this.#wake();
  }
}
