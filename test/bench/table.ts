/** One measured figure beside its baseline from the same run. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline?: { readonly name: string; readonly value: number };
  /** What the ratio to the baseline, or the value itself where there is none, should be. */
  readonly goal?: { readonly most?: number; readonly least?: number };
}

export function ratio(row: Row): number | undefined {
  return row.baseline && row.value / row.baseline.value;
}

/** True where the row has no goal or reaches it. */
export function reached(row: Row): boolean {
  const measured = ratio(row) ?? row.value;
  return measured <= (row.goal?.most ?? Infinity) && measured >= (row.goal?.least ?? -Infinity);
}

/** The rows as a Markdown table. */
export function markdown(rows: readonly Row[]): string {
  const head = ['| what | measured | baseline | ratio | goal |', '| --- | --- | --- | --- | --- |'];
  return [...head, ...rows.map(line)].join('\n');
}

function line(row: Row): string {
  const measured = ratio(row);
  const cells = [
    row.name,
    amount(row.value, row.unit),
    row.baseline ? `${row.baseline.name}: ${amount(row.baseline.value, row.unit)}` : '–',
    measured === undefined ? '–' : `${digits(measured)}×`,
    goal(row),
  ];
  return `| ${cells.join(' | ')} |`;
}

function goal(row: Row): string {
  if (!row.goal) return '–';
  const unit = row.baseline ? '×' : ` ${row.unit}`;
  const bound = row.goal.most === undefined ? `≥ ${row.goal.least}${unit}` : `≤ ${row.goal.most}${unit}`;
  return `${bound}${reached(row) ? '' : ' (missed)'}`;
}

function amount(value: number, unit: string): string {
  return `${digits(value)} ${unit}`;
}

function digits(value: number): string {
  return value.toPrecision(3).includes('e') ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
