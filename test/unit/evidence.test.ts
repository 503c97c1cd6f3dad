import assert from 'node:assert/strict';
import { test } from 'node:test';
import { looksOffline } from '../../src/sandbox/intercept/diagnosis/evidence.ts';

const saysOffline = (stderr: string) => looksOffline({ command: 'x', exitCode: 1, stdout: '', stderr });

for (const line of [
  'curl: (6) Could not resolve host: packages.example',
  'curl: (5) Could not resolve proxy: proxy',
  "  Could not resolve 'debian.example'\nE: Some index files failed",
  'ssh: Could not resolve hostname github.com: Name or service not known',
  'Error: getaddrinfo ENOTFOUND packages.example',
  'npm error code EAI_AGAIN',
  'socket.gaierror: [Errno -3] Temporary failure in name resolution',
  "NewConnectionError: Failed to resolve 'packages.example' ([Errno -3] …)",
  'ping: connect: Network is unreachable',
])
  test(`a name that was not found: ${line}`, () => assert.equal(saysOffline(line), true));

for (const line of [
  "FileNotFoundError: [Errno 2] No such file or directory: 'nope'",
  "ModuleNotFoundError: No module named 'nosuch'",
  'npm error ERESOLVE could not resolve',
  '✘ [ERROR] Could not resolve "react"',
  'Failed to resolve import "x" from "src/main.ts". Does the file exist?',
  'error[E0433]: failed to resolve: use of undeclared crate or module `x`',
])
  test(`no name of a host: ${line}`, () => assert.equal(saysOffline(line), false));
