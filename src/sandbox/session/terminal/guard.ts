// oxlint-disable-next-line import/default -- Node loads the CommonJS build, which is one default export.
import unicode11 from '@xterm/addon-unicode11';
import type { IUnicodeVersionProvider, Terminal } from '@xterm/headless';

/** Marks that may join one character; further ones take a cell of their own. */
const maxJoined = 16;

/** The emulator repeats these as often as the sequence says, which may be 2^31 times, in one go. */
const repeatingRows = ['L', 'M', 'S', 'T'];
const repeatingColumns = ['I', 'Z', 'b'];

/** Keeps what a hostile program writes from costing the emulator more time or memory than its size. */
export function guardTerminal(terminal: Terminal): void {
  for (const final of repeatingRows) swallowAbove(terminal, final, () => terminal.rows);
  for (const final of repeatingColumns) swallowAbove(terminal, final, () => terminal.cols);
  // Hyperlinks are kept for as long as a cell shows them; nobody sees them here.
  terminal.parser.registerOscHandler(8, () => true);
  terminal.unicode.register(new BoundedJoins(unicode11Provider()));
  terminal.unicode.activeVersion = BoundedJoins.version;
}

/** No program repeats more often than there are rows or columns: such a sequence is ignored. */
function swallowAbove(terminal: Terminal, final: string, limit: () => number): void {
  terminal.parser.registerCsiHandler({ final }, (params) => params.flat().some((param) => param > limit()));
}

/** The widths that today's programs count with; the addon hands its provider to whatever it is activated on. */
function unicode11Provider(): IUnicodeVersionProvider {
  let provider: IUnicodeVersionProvider | undefined;
  const register = (given: IUnicodeVersionProvider) => (provider = given);
  new unicode11.Unicode11Addon().activate({ unicode: { register } });
  if (!provider) throw new Error('the Unicode addon registered nothing');
  return provider;
}

/** A character's properties are `state << 3 | width << 1 | joins`; the state counts what has joined. */
class BoundedJoins implements IUnicodeVersionProvider {
  static readonly version = '11-bounded';
  readonly version = BoundedJoins.version;
  readonly #base: IUnicodeVersionProvider;

  constructor(base: IUnicodeVersionProvider) {
    this.#base = base;
  }

  wcwidth(codepoint: number): 0 | 1 | 2 {
    return this.#base.wcwidth(codepoint);
  }

  charProperties(codepoint: number, preceding: number): number {
    const properties = this.#base.charProperties(codepoint, preceding & 7) & 7;
    if (!(properties & 1)) return properties;
    const joined = (preceding >> 3) + 1;
    return joined > maxJoined ? 1 << 1 : (joined << 3) | properties;
  }
}
