import { Gauge, type Registry } from 'prom-client';
import type { Check } from '../setup/checks.ts';

const values: Readonly<Record<Check['status'], number>> = { fail: 0, ok: 1, warn: 2, untried: 3 };

/** Shows what the doctor found before this server started. Names of checks and templates are the operator's. */
export function registerCard(registry: Registry, card: readonly Check[]): void {
  const gauge = new Gauge({
    name: 'berth_doctor_check',
    help: 'What berth doctor found before the start: 1 it holds, 0 it failed, 2 a warning, 3 not tried.',
    labelNames: ['check', 'template'],
    registers: [registry],
  });
  for (const { name, template = '', status } of card) gauge.set({ check: name, template }, values[status]);
}
