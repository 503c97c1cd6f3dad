/** One defence, broken on purpose, and the test that has to notice. */
export interface Mutant {
  /** What is wrong then. */
  readonly name: string;
  readonly file: string;
  /** Stands once in the file. */
  readonly from: string;
  readonly to: string;
  readonly test: string;
}

/** Makes mutants of one file that one test has to notice. */
export function breaking(file: string, test: string) {
  return (name: string, from: string, to: string): Mutant => ({ name, file, from, to, test });
}
