/** The host cannot be made ready. The message is for the person at the terminal: one or two lines that say what to do. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}
