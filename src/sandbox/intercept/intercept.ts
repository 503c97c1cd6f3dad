import type { FilesPort, ShellPort, TerminalsPort, Workspace } from '../ports/workspace.ts';

/** The ports of a workspace by the names that their operations begin with: `shell.run`, `files.write`, … */
export interface Ports {
  readonly shell: ShellPort;
  readonly files: FilesPort;
  readonly terminals: TerminalsPort;
}

/** How bytes go through an operation. */
export interface Traffic {
  /** The argument that is a stream into the sandbox, from 0. */
  readonly body?: number;
  /** What it resolves with: a stream out of the sandbox, or an open file that makes some. Absent: a value. */
  readonly gives?: 'stream' | 'file';
}

/** Every operation of every port; one that is missing does not compile. */
export const operations: { readonly [P in keyof Ports]: Readonly<Record<keyof Ports[P], Traffic>> } = {
  shell: { run: {}, check: {}, stop: {}, cwd: {}, reset: {} },
  files: {
    stat: {},
    open: { gives: 'file' },
    read: { gives: 'stream' },
    write: { body: 1 },
    list: {},
    edit: {},
    search: {},
    makeDirectory: {},
    remove: {},
    move: {},
    archive: { gives: 'stream' },
    zip: { gives: 'stream' },
    unpack: { body: 1 },
  },
  terminals: { start: {}, send: {}, read: {}, resize: {}, list: {}, end: {}, watch: {} },
};

/** What a layer does in place of some operations. It calls the workspace below it to go on. */
export type Layer = { readonly [P in keyof Ports]?: Partial<Ports[P]> } & Partial<Pick<Workspace, 'status'>>;

/** An operation as a layer over all of them sees it: `next` makes the call below with the arguments it is given. */
export interface Operation {
  readonly name: string;
  readonly traffic: Traffic;
  readonly next: (...args: readonly unknown[]) => Promise<unknown>;
}

/** The workspace with a layer over it. What the layer leaves out reaches the workspace below, with every argument. */
export function intercept(workspace: Workspace, layer: Layer): Workspace {
  return interceptAll(workspace, ({ name, next }) => {
    const [port = '', method = ''] = name.split('.');
    const own = layer[port as keyof Layer];
    if (typeof own === 'function') return own;
    return (own?.[method as keyof typeof own] as Operation['next'] | undefined) ?? next;
  });
}

/**
 * The workspace with each operation, `status` included, made from the one below. Its listening ports are as they are: a
 * preview is noted once and not for each connection.
 */
export function interceptAll(workspace: Workspace, make: (operation: Operation) => Operation['next']): Workspace {
  const port = (name: keyof Ports) =>
    Object.fromEntries(
      Object.entries<Traffic>(operations[name]).map(([method, traffic]) => {
        const next: Operation['next'] = async (...args) => await callOf(workspace[name], method)(...args);
        return [method, make({ name: `${name}.${method}`, traffic, next })];
      }),
    );
  const ports = { shell: port('shell'), files: port('files'), terminals: port('terminals') } as unknown as Ports;
  const status = make({ name: 'status', traffic: {}, next: () => workspace.status() }) as Workspace['status'];
  return { handle: workspace.handle, ...ports, ports: workspace.ports, status };
}

/** Looked up at each call, so that a port whose methods change is called as it is then. */
function callOf(port: object, method: string): Operation['next'] {
  const { [method]: call } = port as Record<string, Operation['next']>;
  if (!call) throw new TypeError(`no operation ${method}`);
  return (...args) => call.apply(port, [...args]);
}
