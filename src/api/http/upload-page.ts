import { randomBytes } from 'node:crypto';
import { byteSize } from '../../lib/text.ts';
import { escapeHtml } from './html.ts';
import { look } from './look.ts';

/** The page behind an upload link. It needs nothing from elsewhere and talks to nobody but this address. */
export function uploadPage(directory: string, limit: number): Response {
  const nonce = randomBytes(16).toString('base64');
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Upload files</title>
<style nonce="${nonce}">${look}</style>
</head>
<body>
<main>
<h1>Upload files</h1>
<p>They go into <code>${escapeHtml(directory)}</code> of the chat’s computer, ${byteSize(limit)} each at most. A file of the same name is replaced.</p>
<label class="drop" id="drop"><input type="file" id="pick" multiple>Drop files here, or click to choose</label>
<ul id="list" aria-live="polite"></ul>
</main>
<script nonce="${nonce}">const limit = ${limit};${script}</script>
</body>
</html>`;
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy,
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
  return new Response(html, { headers });
}

/** One upload after another; each says how far it is, and how it ended. */
const script = String.raw`
const drop = document.getElementById('drop');
const pick = document.getElementById('pick');
const list = document.getElementById('list');
let last = Promise.resolve();
let waiting = 0;

const element = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text });
const size = (bytes) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return (power ? (bytes / 1024 ** power).toFixed(1) : bytes) + ' ' + units[power];
};

function add(file) {
  const row = element('li', '', '');
  const state = element('span', 'state', 'waiting');
  const note = element('span', 'note', size(file.size));
  const bar = document.createElement('progress');
  row.append(element('span', 'name', file.name), state, bar, note);
  list.append(row);
  const show = (kind, word, text) => {
    row.className = kind;
    state.textContent = word;
    note.textContent = text;
    if (kind) bar.remove();
  };
  const fail = (why, final) => {
    show('failed', 'not uploaded', why);
    if (final) return;
    const again = element('button', '', 'Try again');
    again.onclick = () => { row.remove(); add(file); };
    row.append(again);
  };
  if (file.size > limit) return fail('It has ' + size(file.size) + '; at most ' + size(limit) + ' are taken.', true);
  waiting++;
  last = last.then(() => send(file, bar, show, fail)).finally(() => waiting--);
}

function send(file, bar, show, fail) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    const started = Date.now();
    request.open('PUT', location.pathname + '?name=' + encodeURIComponent(file.name));
    request.setRequestHeader('content-type', 'application/octet-stream');
    request.upload.onprogress = ({ loaded, total }) => {
      bar.max = total;
      bar.value = loaded;
      const speed = loaded / Math.max(0.1, (Date.now() - started) / 1000);
      show('', Math.floor((loaded / Math.max(1, total)) * 100) + ' %', size(loaded) + ' of ' + size(total) + ', ' + size(Math.round(speed)) + '/s');
    };
    request.onload = () => {
      if (request.status < 300) show('done', 'uploaded', size(file.size));
      else fail(reason(request));
      done();
    };
    request.onerror = () => { fail('The connection was lost; nothing of the file was kept.'); done(); };
    request.send(file);
  });
}

function reason(request) {
  try { return JSON.parse(request.responseText).error.message; } catch { return 'The server answered with status ' + request.status + '.'; }
}

pick.onchange = () => { for (const file of pick.files) add(file); pick.value = ''; };
for (const name of ['dragenter', 'dragover']) addEventListener(name, (event) => { event.preventDefault(); drop.classList.add('over'); });
for (const name of ['dragleave', 'drop']) addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove('over'); });
addEventListener('drop', (event) => {
  for (const item of event.dataTransfer.items) {
    const entry = item.webkitGetAsEntry?.();
    if (entry?.isDirectory) alertRow(entry.name);
    else if (item.kind === 'file') add(item.getAsFile());
  }
});
addEventListener('beforeunload', (event) => { if (waiting) event.preventDefault(); });

function alertRow(name) {
  const row = element('li', 'failed', '');
  row.append(element('span', 'name', name), element('span', 'state', 'not uploaded'), element('span', 'note', 'A directory: pack it into an archive first.'));
  list.append(row);
}
`;
