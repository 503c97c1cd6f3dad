/** Imported before a server: SIGUSR2 moves its wall clock by `CLOCK_STEP` milliseconds, and its monotonic clock not. */
const step = Number(process.env['CLOCK_STEP']);
const RealDate = Date;
let shift = 0;

const now = () => RealDate.now() + shift;
globalThis.Date = new Proxy(RealDate, {
  construct: (_, args: []) => (args.length === 0 ? new RealDate(now()) : new RealDate(...args)),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});

process.on('SIGUSR2', () => (shift += step));
