// A real Open WebUI in front of a real Berth: `npm run e2e:open-webui [-- VERSION …] [-- quick]`.
import { install, Unavailable, type Installed } from './venv.ts';
import { journeys } from './journeys.ts';

/** The newest one, which speaks the 2026 era, and the last of those that speak the 2025 era. */
const usual = ['newest', '0.11.4'];

const words = process.argv.slice(2);
const quick = words.includes('quick');
const versions = words.filter((word) => word !== 'quick');

for (const version of versions.length > 0 ? versions : usual) {
  const installed = await installOrSay(version);
  if (installed) await journeys(installed, quick ? 40 : 360);
}

async function installOrSay(version: string): Promise<Installed | undefined> {
  process.stdout.write(`Installing Open WebUI (${version}) …\n`);
  try {
    return await install(version);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    process.stdout.write(`Not run against Open WebUI (${version}): ${error.message}\n`);
    process.exitCode = 1;
    return undefined;
  }
}
