import { z } from 'zod';
import { AppError } from '../../../errors.ts';
import { sharePort } from '../../previews/share.ts';
import type { ListeningPort } from '../../../sandbox/ports/workspace.ts';
import { changes, reads } from '../annotations.ts';
import { defineTool } from '../define-tool.ts';

const hour = 3600;

const sharePortTool = defineTool({
  name: 'share_port',
  title: 'Show a running web program',
  description:
    'Make a link by which the user can open, in a browser, a web program that listens on a port of the sandbox: a page served by python3 -m http.server, Streamlit, Jupyter, Vite, an API. The program must listen on 127.0.0.1, ::1 or 0.0.0.0. Give the user the link exactly as it is. Whoever has the link can use the program until it expires.',
  input: {
    port: z.int().min(1).max(65535).describe('The port the program listens on; list_ports shows them.'),
    expires: z
      .int()
      .min(60)
      .max(2_592_000)
      .optional()
      .describe('Seconds the link works; 3600 (an hour) when left out.'),
    access: z
      .enum(['link', 'key', 'none'])
      .optional()
      .describe(
        '"link" (when left out): whoever has it. "key": only requests with your API key. "none": end all links to the port.',
      ),
    host: z
      .enum(['localhost', 'kept'])
      .optional()
      .describe('Host the program sees: "localhost" (localhost:port, when left out) or "kept" (the name in the link).'),
  },
  annotations: changes({ idempotent: false, openWorld: true }),
  async handle(args, call) {
    if (!call.previews) throw new AppError('unsupported', 'This server shows no previews.');
    const { handle, ports } = await call.workspace();
    const { links, baseUrl } = call.previews;
    const { port, access = 'link' } = args;
    if (access === 'none') {
      links.revoke(handle, port);
      return {
        structured: { port, shared: false },
        text: `No link leads to port ${port} any more.`,
        status: ['ended'],
      };
    }
    const listening = await ports.list();
    const template = (await call.sandboxes.status(call.key))?.template ?? '';
    const madeBy = call.principal.provedBy;
    const seconds = args.expires ?? hour;
    const share = { handle, template, port, access, host: args.host ?? 'localhost', seconds, madeBy, baseUrl } as const;
    const { url, expires, notes } = sharePort(links, call.config, share);
    const missing = listening.some((each) => each.port === port)
      ? []
      : [`nothing listens on port ${port} yet; the link shows a page that waits for it`];
    return {
      structured: { port, url, expires, access },
      text: url,
      notes: [...notes, ...missing],
      status: [`port ${port}`, `link until ${expires}`],
    };
  },
});

const listPorts = defineTool({
  name: 'list_ports',
  title: 'What listens in the sandbox',
  description: 'The ports that programs in the sandbox listen on, with each program’s name, process and age.',
  input: {},
  annotations: reads(),
  async handle(_args, call) {
    const { ports } = await call.workspace();
    const listening = await ports.list();
    return {
      structured: { ports: listening },
      text: listening.map(portLine).join('\n'),
      status: [listening.length === 1 ? '1 port' : `${listening.length} ports`],
    };
  },
});

function portLine({ port, program, pid, age }: ListeningPort): string {
  return `${port}  ${program || 'unknown program'}${pid ? `  pid ${pid}  for ${age} s` : ''}`;
}

export const portTools = [sharePortTool, listPorts];
