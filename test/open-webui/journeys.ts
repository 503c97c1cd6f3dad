import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerProcess } from '../support/server-process.ts';
import { berthSettings, connections, openWebUiSettings } from './connections.ts';
import { FakeModel, type ToolCall } from './fake-model.ts';
import { OpenWebUi } from './open-webui.ts';
import { Recorder } from './recorder.ts';
import { pictures, results, type Chat, type Reply } from './user.ts';
import type { Installed } from './venv.ts';

const run = (command: string, more: Record<string, unknown> = {}): ToolCall => ({
  name: 'execute_command',
  arguments: { command, ...more },
});

/** The journeys of one Open WebUI; the long command lasts so many seconds. */
export async function journeys(installed: Installed, seconds: number): Promise<void> {
  await test(`Open WebUI ${installed.version}`, async (t) => {
    await using stack = new AsyncDisposableStack();
    const model = stack.use(await FakeModel.start());
    const recorder = stack.use(await Recorder.start());
    const offered = connections(recorder.url);
    const env = openWebUiSettings;
    const webui = stack.use(await OpenWebUi.start({ installed, model: model.url, connections: offered, env }));
    const berth = stack.use(await ServerProcess.start(berthSettings(recorder.url, webui.url)));
    recorder.target = berth.url;
    const [ada, bob] = [await webui.user('Ada'), await webui.user('Bob')];

    let said = 0;
    /** Says something to which the model answers by these calls; the results, as the chat keeps them. */
    async function ask(
      chat: Chat,
      calls: readonly ToolCall[],
      server = 'sandbox',
    ): Promise<{ reply: Reply; shown: string[] }> {
      const text = `Message ${++said}`;
      model.when(text, { calls, server });
      const reply = await chat.say(text, { tools: [`server:mcp:${server}`] });
      assert.equal(reply.error, undefined, JSON.stringify(reply.error));
      return { reply, shown: results(reply) };
    }
    const first = async (chat: Chat, command: string, server?: string) =>
      ((await ask(chat, [run(command)], server)).shown[0] ?? '').split('\n')[0];

    const long = longCommand();
    async function longCommand() {
      const mark = recorder.entries.length;
      const chat = ada.chat();
      const calls = [run(`sleep ${seconds}; echo waited`, { timeout: seconds + 60 }), run('echo and went on')];
      model.when('Take your time', { calls, server: 'signed' });
      const [id = ''] = await chat.begin('Take your time', { tools: ['server:mcp:signed'] });
      const reply = await chat.reply(id, seconds + 60);
      const call = recorder.since(mark).find((entry) => entry.keepalives > 0 && entry.tool === 'execute_command');
      return { shown: results(reply), keepalives: call?.keepalives ?? 0, took: call?.took ?? 0 };
    }
    long.catch(() => {});

    const chat = ada.chat();
    await t.test(
      'ten messages of a chat have one computer: shell, directory, variables, background server',
      async () => {
        const mark = recorder.entries.length;
        const setUp =
          'mkdir -p work && cd work && export COLOUR=blue && { python3 -m http.server 8099 >/dev/null 2>&1 & } && echo up';
        assert.equal(await first(chat, setUp), 'up');
        const shells = new Set<string | undefined>();
        for (let message = 2; message < 10; message++) shells.add(await first(chat, 'echo "$$ $COLOUR $PWD"'));
        assert.equal(shells.size, 1);
        assert.match([...shells][0] ?? '', /^\d+ blue \/workspace\/work$/);
        const look = `python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:8099").status)'`;
        assert.equal(await first(chat, look), '200');
        const wire = recorder.since(mark).filter((entry) => entry.headers['x-openwebui-chat-id'] === chat.id);
        const sessions = new Set(wire.flatMap((entry) => entry.headers['mcp-session-id'] ?? []));
        const count = (rpc: string) => wire.filter((entry) => entry.rpc === rpc).length;
        const ended = wire.filter((entry) => entry.method === 'DELETE').length;
        const modern = count('server/discover') === 10 && sessions.size === 0 && ended === 0;
        const old = count('initialize') === 10 && sessions.size === 10 && ended === 10;
        assert.ok(
          modern || old,
          JSON.stringify({ sessions: sessions.size, ended, wire: wire.map((entry) => entry.rpc) }),
        );
        t.diagnostic(modern ? '2026 era: 10 discoveries, no session' : '2025 era: 10 sessions, 10 DELETEs');
      },
    );

    await t.test('another user has a computer of his own', async () => {
      const other = bob.chat();
      assert.equal(await first(other, 'echo "${COLOUR-none} $PWD $(ls)"'), 'none /workspace ');
      const { shown } = await ask(other, [{ name: 'list_sandboxes', arguments: {} }]);
      assert.match(shown[0] ?? '', /\[1 sandbox\]$/);
    });

    await t.test('another chat of the same user is another computer', async () => {
      assert.equal(await first(ada.chat(), 'echo "${COLOUR-none}"'), 'none');
    });

    await t.test('side-by-side models use the chat’s computer in turn', async () => {
      model.when('Both of you', { calls: [run('echo "$$ $COLOUR"; sleep 1')] });
      const replies = await chat.sayToAll('Both of you', { models: ['scripted', 'scripted-too'] });
      const shells = replies.map((reply) => results(reply)[0]?.split('\n')[0]);
      assert.equal(new Set(shells).size, 1);
      assert.match(shells[0] ?? '', / blue$/);
    });

    await t.test('the text of a result is shown once, as it is', async () => {
      for (const [command, shown] of [
        ['echo true', 'true'],
        ['echo 1e5', '1e5'],
        [`echo '{"a":1}'`, '{"a":1}'],
      ] as const) {
        const {
          shown: [text = ''],
        } = await ask(chat, [run(command)]);
        const [line, status, ...rest] = text.split('\n');
        assert.deepEqual([line, rest], [shown, []]);
        assert.match(status ?? '', /^\[exit 0 · [0-9.]+ s · \/workspace\/work\]$/);
      }
      const {
        shown: [failed = ''],
      } = await ask(chat, [run('exit 3')]);
      assert.match(failed, /\[exit 3 /);
      const {
        shown: [wrong = ''],
      } = await ask(chat, [{ name: 'execute_command', arguments: {} }]);
      assert.match(wrong, /`command`/);
    });

    await t.test('a plot reaches the reader and the model', async () => {
      const plot = `MPLBACKEND=Agg python3 -c 'import matplotlib.pyplot as p; p.plot([1,3,2]); p.savefig("plot.png")'`;
      const { reply } = await ask(chat, [
        run(plot),
        { name: 'download_file', arguments: { path: 'work/plot.png', as_image: true } },
      ]);
      assert.equal(pictures(reply).length, 1, JSON.stringify(reply).slice(0, 2000));
      const seen = model.requests
        .at(-1)
        ?.messages.filter((message) => JSON.stringify(message.content).includes('image_url'));
      assert.equal(seen?.length, 1);
      assert.equal(JSON.stringify(seen).match(/"type":"image_url"/g)?.length, 1);
    });

    await t.test('a file goes to the user by a link, and comes by one', async () => {
      const share = { name: 'share_file', arguments: { path: 'work/answer.txt' } };
      const { shown } = await ask(chat, [run('echo 42 > answer.txt'), share]);
      const link = /http\S+/.exec(shown[1] ?? '')?.[0] ?? '';
      assert.equal(await (await fetch(link)).text(), '42\n');
      const asked = await ask(chat, [{ name: 'request_upload', arguments: { directory: 'inbox' } }]);
      const page = /http\S+/.exec(asked.shown[0] ?? '')?.[0] ?? '';
      assert.match(await (await fetch(page)).text(), /Drop files here/);
      const put = await fetch(`${page}?name=data.csv`, { method: 'PUT', body: 'a,b\n1,2\n' });
      assert.equal(put.status, 201);
      assert.equal(await first(chat, 'tail -1 /workspace/inbox/data.csv'), '1,2');
    });

    await t.test('the stop button interrupts the command and keeps the computer', async () => {
      const shell = await first(chat, 'echo $$');
      model.when('Sleep', { calls: [run('sleep 271')] });
      const mark = recorder.entries.length;
      const [id = ''] = await chat.begin('Sleep');
      await waitFor(() => recorder.since(mark).some((entry) => entry.rpc === 'tools/call'));
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await chat.stop();
      await chat.reply(id, 20).catch(() => undefined);
      assert.equal(await first(chat, 'pgrep -fc "^sleep 271" || true'), '0');
      assert.equal(await first(chat, 'echo $$'), shell);
    });

    await t.test('signed users: the same person, told by a token', async () => {
      const own = ada.chat();
      assert.equal(await first(own, 'echo $((6*7))', 'signed'), '42');
      assert.equal(await first(own, 'export A=1; echo $A', 'signed'), '1');
      assert.equal(await first(own, 'echo $A', 'signed'), '1');
      assert.equal(await first(bob.chat(), 'echo ${A-none}', 'signed'), 'none');
    });

    await t.test('users by their own tokens', async () => {
      const own = ada.chat();
      assert.equal(await first(own, 'export B=1; echo $B', 'own'), '1');
      assert.equal(await first(own, 'echo $B', 'own'), '1');
      assert.equal(await first(bob.chat(), 'echo ${B-none}', 'own'), 'none');
    });

    await t.test('attachments of the chat come into its computer', async () => {
      const own = ada.chat();
      const file = await ada.upload('figures.csv', 'x,y\n1,2\n');
      const text = 'Here is a file';
      model.when(text, {
        server: 'own',
        calls: [{ name: 'fetch_attachments', arguments: {} }, run('cat attachments/figures.csv')],
      });
      const shown = results(await own.say(text, { tools: ['server:mcp:own'], files: [file] }));
      assert.match(shown[0] ?? '', /^\/workspace\/attachments\/figures\.csv {2}8 B\n/);
      assert.match(shown[1] ?? '', /^x,y\n1,2\n\[exit 0 /);
    });

    await t.test('a long command shows its progress in the chat', async () => {
      const calls = [run('for i in 1 2 3 4 5 6; do sleep 1; echo step $i; done')];
      const { reply } = await ask(ada.chat(), calls, 'own');
      const lines = (reply.statusHistory ?? []).map((status) => status.description);
      assert.ok(
        lines.some((line) => /^step \d$/.test(line ?? '')),
        JSON.stringify(reply.statusHistory),
      );
      assert.equal(reply.statusHistory?.at(-1)?.done, true);
    });

    await t.test('groups decide on the kind of computer', async () => {
      const eve = await webui.user('Eve');
      await webui.group('builders', [eve]);
      const kind = async (user: typeof eve) =>
        (await ask(user.chat(), [run('true'), { name: 'sandbox_status', arguments: {} }])).shown[1];
      assert.match((await kind(eve)) ?? '', /, template base,/);
      assert.match((await kind(bob)) ?? '', /, template data,/);
    });

    await t.test('"Verify connection" lists the tools of every connection', async () => {
      const admin = await webui.admin();
      for (const connection of offered) {
        const answer = await admin.post<{ specs: { name: string }[] }>(
          '/api/v1/configs/tool_servers/verify',
          connection,
        );
        assert.ok(
          answer.specs.some((spec) => spec.name === 'execute_command'),
          connection.info.id,
        );
      }
    });

    await t.test(
      `a command of ${seconds} seconds is waited for, with keepalives, and longer than the user’s token lasts`,
      async () => {
        const { shown, keepalives, took } = await long;
        assert.match(shown[0] ?? '', new RegExp(`^waited\\n\\[exit 0 · ${seconds}\\.`));
        assert.match(shown[1] ?? '', /^and went on\n/);
        assert.ok(keepalives >= Math.floor(seconds / 15) - 2, String(keepalives));
        t.diagnostic(`${(took / 1000).toFixed(1)} s, ${keepalives} keepalives`);
      },
    );

    await t.test('a restart of Berth between two messages changes nothing', async () => {
      const before = await first(chat, 'echo "$$ $COLOUR"');
      await berth.kill('SIGTERM');
      await berth.start();
      recorder.target = berth.url;
      assert.equal(await first(chat, 'echo "$$ $COLOUR"'), before);
      await berth.kill('SIGKILL');
      await berth.start();
      assert.equal(await first(chat, 'echo "$$ $COLOUR"'), before);
    });

    await t.test('no tool call was an HTTP error', () => {
      const calls = recorder.entries.filter((entry) => entry.rpc === 'tools/call' && !entry.dropped);
      assert.deepEqual([...new Set(calls.map((entry) => entry.status))], [200]);
      t.diagnostic(`${calls.length} calls`);
    });
  });
}

async function waitFor(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !holds(); await new Promise((resolve) => setTimeout(resolve, 50)))
    if (performance.now() > end) throw new Error(`waited in vain for ${holds}`);
}
