import { Counter, Gauge, type Registry } from 'prom-client';
import { AppError } from '../../errors.ts';
import { HourMeter } from '../../sandbox/intercept/limits/hour-meter.ts';

export interface PreviewLimits {
  /** Open requests and sockets of one sandbox, and of all sandboxes of one principal; 0 = no limit. */
  readonly connections: number;
  readonly principal_connections: number;
  /** Of one principal, both ways together; 0 = no limit. */
  readonly bytes_per_hour: number;
}

/** Keeps previews within their limits, and counts them. */
export class PreviewGauge {
  readonly #limits: PreviewLimits;
  readonly #open = new Map<string, number>();
  readonly #bytes = new Map<string, HourMeter>();
  readonly #count: (outcome: string) => void;
  readonly #moved: (bytes: number) => void;

  constructor(limits: PreviewLimits, registry: Registry) {
    this.#limits = limits;
    const registers = [registry];
    const requests = new Counter({
      name: 'berth_preview_requests_total',
      help: 'Requests and sockets of previews by outcome.',
      labelNames: ['outcome'],
      registers,
    });
    const bytes = new Counter({ name: 'berth_preview_bytes_total', help: 'Bytes of previews, both ways.', registers });
    const all = () => [...this.#open].filter(([place]) => place.startsWith('sandbox ')).map(([, count]) => count);
    new Gauge({
      name: 'berth_preview_connections',
      help: 'Open requests and sockets of previews.',
      registers,
      collect() {
        this.set(all().reduce((sum, count) => sum + count, 0));
      },
    });
    this.#count = (outcome) => requests.inc({ outcome });
    this.#moved = (count) => bytes.inc(count);
  }

  outcome(outcome: string): void {
    this.#count(outcome);
  }

  /** Takes a place until it is disposed. Throws `busy`. */
  open(handle: string, principal: string): Disposable {
    const places = [`sandbox ${handle}`, `principal ${principal}`] as const;
    this.#refuseMore(places[0], this.#limits.connections, 'this sandbox');
    this.#refuseMore(places[1], this.#limits.principal_connections, 'its owner');
    const spent = this.#limits.bytes_per_hour > 0 && this.#meter(principal).secondsUntil(this.#limits.bytes_per_hour);
    if (spent) throw busy(`Previews of its owner have moved all the bytes of this hour`, spent);
    for (const place of places) this.#open.set(place, (this.#open.get(place) ?? 0) + 1);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        for (const place of held ? places : []) this.#leave(place);
        held = false;
      },
    };
  }

  /** Whether more may be moved. */
  moved(principal: string, bytes: number): boolean {
    this.#moved(bytes);
    if (this.#limits.bytes_per_hour === 0) return true;
    const meter = this.#meter(principal);
    meter.add(bytes);
    return meter.sum() <= this.#limits.bytes_per_hour;
  }

  #meter(principal: string): HourMeter {
    const known = this.#bytes.get(principal) ?? new HourMeter();
    this.#bytes.set(principal, known);
    return known;
  }

  #refuseMore(place: string, most: number, whose: string): void {
    if (most > 0 && (this.#open.get(place) ?? 0) >= most)
      throw busy(`Previews of ${whose} have ${most} connections open, which is the most`, 2);
  }

  #leave(place: string): void {
    const left = (this.#open.get(place) ?? 1) - 1;
    if (left > 0) this.#open.set(place, left);
    else this.#open.delete(place);
  }
}

function busy(what: string, seconds: number): AppError {
  return new AppError('busy', `${what}; try again in ${seconds} s.`, { data: { retry_after: seconds } });
}
