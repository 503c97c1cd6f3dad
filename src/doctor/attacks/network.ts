import { type Attack, broken, held, type Target, unless, untried } from '../attack.ts';
import { script, trial } from '../exec.ts';
import { addressesOf, askProxy, isReached, knock, openHostPort, type Place, written } from '../network.ts';

const advice = 'Use "network: none" or "allow-list", or "open" without network_open_unprotected.';

/** Which of the places a sandbox reaches, directly or through its proxy. */
async function reached({ container, template }: Target, places: readonly Place[], signal: AbortSignal) {
  const direct = await knock(container, places, signal);
  const proxied = template.network === 'allow-list' ? await askProxy(container, places, signal) : new Map();
  if (template.network === 'allow-list' && places.length > 0 && proxied.size === 0) throw new Error('no proxy answers');
  return places.flatMap((place) => {
    if (isReached(direct.get(place))) return [`${written(place)} is reached`];
    return / 2\d\d/.test(proxied.get(place) ?? '') ? [`${written(place)} is reached through the proxy`] : [];
  });
}

const hostPorts: Attack = {
  name: 'host ports',
  meaning: 'A sandbox can talk to what listens on the host: databases, admin pages, the engine.',
  advice,
  async run(target, signal) {
    await using port = await openHostPort();
    if (port.places.length === 0) return untried('this host has no address that it answers on itself');
    const found = await reached(target, port.places, signal);
    return unless(found, `none of the host's ${port.places.length} addresses answers`);
  },
};

const peers: Attack = {
  name: 'peers',
  meaning: 'One sandbox can attack, or be read by, the sandbox of another user.',
  advice,
  async run(target, signal) {
    const make = ': > /dev/shm/doctor && : > /tmp/doctor && [[ -e /dev/shm/doctor && -e /tmp/doctor ]]';
    const made = await script(target.container, make, { signal });
    if (made.code !== 0) return untried('nothing can be written to /dev/shm and /tmp');
    const look = 'for f in /dev/shm/doctor /tmp/doctor; do [[ -e $f ]] && echo "$f is shared"; done';
    const shared = await trial(target.peer.container, look, signal);
    const addresses = await addressesOf(target.peer.container, signal);
    const places = addresses.map((address) => ({ address, port: 1 }));
    const own = await knock(target.peer.container, places, signal);
    if (![...own.values()].every(isReached)) return untried('the peer does not answer at its own address');
    const found = [...shared, ...(await reached(target, places, signal))];
    return unless(found, addresses.length ? `${addresses.join(', ')} does not answer` : 'a peer has no address');
  },
};

/** Of most clouds, of AWS over IPv6, of Alibaba: none of them an address of the internet. */
const metadataPlaces: readonly Place[] = [
  { address: '169.254.169.254', port: 80 },
  { address: 'fd00:ec2::254', port: 80 },
  { address: '100.100.100.200', port: 80 },
];

/** Of Azure's host: an address of the internet, about which silence says nothing. */
const wireServer: Place = { address: '168.63.129.16', port: 80 };

const metadata: Attack = {
  name: 'cloud metadata',
  meaning: "A sandbox can take the machine's cloud credentials.",
  advice,
  async run(target, signal) {
    const found = await reached(target, [...metadataPlaces, wireServer], signal);
    if (found.length > 0) return broken(found.join('; '));
    const answers = [...(await knock(target.container, metadataPlaces, signal)).values()];
    if (answers.every((answer) => answer === 'rejected')) return held('there is no way to 169.254.169.254 and its kin');
    return untried('nothing answers there, but nothing is in the way either');
  },
};

/** A question for example.com, in the DNS's own format. */
const question = '\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x07example\\x03com\\0\\0\\x01\\0\\x01';

const dns: Attack = {
  name: 'DNS',
  meaning: 'Data can leave the sandbox in the names that it asks for, whatever else is shut.',
  advice: 'Use "network: none" or "allow-list": their sandboxes have no resolver.',
  async run({ container, template }, signal) {
    if (template.network === 'open') return held('open by the template');
    const text = `
      exec 3<> /dev/udp/127.0.0.1/9 && echo able
      servers=(127.0.0.11 8.8.8.8 1.1.1.1)
      while read -r word server _; do [[ $word == nameserver ]] && servers+=("$server"); done < /etc/resolv.conf
      for server in "\${servers[@]}"; do
        exec 3<> "/dev/udp/$server/53" || continue
        [[ $server == 127.* ]] || echo "route $server"
        printf '${question}' >&3
        LC_ALL=C read -r -n 1 -t 1 byte <&3 && [[ $byte == $'\\x12' ]] && echo "answer $server"
        exec 3>&-
      done`;
    const lines = await trial(container, text, signal);
    if (!lines.includes('able')) return untried('no question can be sent, not even to the sandbox itself');
    const found = lines.flatMap((line) => {
      const [, what, server] = /^(answer|route) (\S+)$/.exec(line) ?? [];
      return what === undefined ? [] : [what === 'answer' ? `${server} answers` : `there is a way to ${server}`];
    });
    return unless(found, 'no resolver answers');
  },
};

const engineSocket: Attack = {
  name: 'engine socket',
  meaning: 'Whoever reaches the engine is root on its host.',
  advice: "Take the engine's socket out of the template's mounts.",
  async run({ container }, signal) {
    const text = `
      [[ -e /proc/self/exe && -r /proc/net/unix ]] && echo able
      for f in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock \\
        /var/run/crio/crio.sock; do [[ -e $f ]] && echo "$f"; done
      while read -r line; do [[ $line == *docker*.sock || $line == *containerd*.sock ]] && echo "\${line##* }"; done < /proc/net/unix`;
    const [able, ...found] = await trial(container, text, signal);
    if (able !== 'able') return untried('the sandbox has no list of sockets to look in');
    return unless(found, 'not there');
  },
};

export const networkAttacks = [hostPorts, peers, metadata, dns, engineSocket] as const;
