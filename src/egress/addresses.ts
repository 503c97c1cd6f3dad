import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';

const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

const kinds: Readonly<Record<string, string>> = {
  unspecified: 'the unspecified address',
  broadcast: 'the broadcast address',
  multicast: 'a multicast address',
  linkLocal: 'a link-local address (where clouds keep their metadata)',
  loopback: 'a loopback address',
  carrierGradeNat: 'an address behind a carrier’s NAT',
  private: 'a private address',
  uniqueLocal: 'a private address',
};

/** Public by its number; every machine of Azure has its host's services there, and its credentials. */
const azureHost = '168.63.129.16';
/** Private by their number: metadata of EC2 over IPv6 and of Alibaba Cloud. */
const privateMetadata = ['fd00:ec2::254', '100.100.100.200'];
const metadata = 'an address where a cloud keeps its metadata';
const openable: ReadonlySet<string> = new Set(['private', 'uniqueLocal', 'carrierGradeNat']);

/** What kind of address it is, as a noun phrase, where no sandbox may connect to it; `undefined` for a public one. */
export function forbiddenKind(address: string, own: ReadonlySet<string> = ownAddresses()): string | undefined {
  if (!ipaddr.isValid(address)) return 'no address';
  // What the kernel would connect to: a mapped address is its IPv4 one.
  const parsed = ipaddr.process(address);
  const range = parsed.range();
  if (parsed.toString() === azureHost) return metadata;
  if (range !== 'unicast') return kinds[range] ?? `a reserved address (${range})`;
  if (parsed instanceof ipaddr.IPv6 && !parsed.match(globalUnicast)) return 'a reserved address';
  return own.has(parsed.toNormalizedString()) ? 'an address of this host' : undefined;
}

/** The same where the operator names the target: private addresses are open then, this host's and clouds' own never. */
export function forbiddenPrivateKind(address: string, own: ReadonlySet<string> = ownAddresses()): string | undefined {
  if (!ipaddr.isValid(address)) return 'no address';
  const parsed = ipaddr.process(address);
  if (!openable.has(parsed.range())) return forbiddenKind(address, own);
  if (privateMetadata.includes(parsed.toString())) return metadata;
  return own.has(parsed.toNormalizedString()) ? 'an address of this host' : undefined;
}

/** This host's own addresses, normalized: its public ones lead to its own ports. */
export function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const valid = all.map(({ address }) => address.replace(/%.*$/, '')).filter((address) => ipaddr.isValid(address));
  return new Set(valid.map((address) => ipaddr.process(address).toNormalizedString()));
}
