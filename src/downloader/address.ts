import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

type Parsed = ipaddr.IPv4 | ipaddr.IPv6;
export type Cidr = [Parsed, number];

/** Special-purpose IPv4 blocks (IANA registry), and 168.63.129.16, a cloud's host agent behind a public-looking address. */
const REFUSED_V4 = cidrs(
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32',
);
const GLOBAL_V6 = cidrs('2000::/3');
/** Inside 2000::/3, and yet not global: protocol assignments with Teredo, documentation, 6to4, AS112. */
const REFUSED_V6 = cidrs('2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '2620:4f:8000::/48');
/** An IPv4 address in the last four bytes: mapped, compatible, translated, NAT64. What counts is the address inside. */
const EMBEDDING_V6 = cidrs('::ffff:0:0/96', '::/96', '::ffff:0:0:0/96', '64:ff9b::/96');

function cidrs(...texts: string[]): Cidr[] {
  return texts.map((text) => ipaddr.parseCIDR(text));
}

/** Parses CIDRs such as `10.0.0.0/8`, `::1/128`. @throws Error on anything else */
export function parseCidrs(texts: readonly string[]): Cidr[] {
  return cidrs(...texts);
}

/** True where `parsed` lies in one of the blocks. */
function inside(parsed: Parsed, blocks: readonly Cidr[]): boolean {
  return blocks.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits));
}

/** Null for whatever is not a plain literal: names, odd spellings (`0x7f.1`), zone ids (`fe80::1%eth0`). */
function parse(address: string): Parsed | null {
  return isIP(address) === 0 || address.includes('%') ? null : ipaddr.parse(address);
}

function unwrap(parsed: Parsed): Parsed {
  return inside(parsed, EMBEDDING_V6) ? new ipaddr.IPv4(parsed.toByteArray().slice(12)) : parsed;
}

/**
 * True for global unicast addresses: those that the public internet routes. Mapped and translated IPv6 forms are judged
 * by the IPv4 address inside. The local NAT64 prefix 64:ff9b:1::/48 lies outside 2000::/3 and is refused whatever it holds.
 *
 * @param address a canonical literal, IPv6 without brackets; anything else is not global
 */
export function isGlobal(address: string): boolean {
  const parsed = parse(address);
  if (parsed === null) return false;
  const real = unwrap(parsed);
  return real.kind() === 'ipv4' ? !inside(real, REFUSED_V4) : inside(real, GLOBAL_V6) && !inside(real, REFUSED_V6);
}

/** True where the address, as written or unwrapped, lies in one of the blocks. */
export function isInside(address: string, blocks: readonly Cidr[]): boolean {
  const parsed = parse(address);
  return parsed !== null && (inside(parsed, blocks) || inside(unwrap(parsed), blocks));
}

/** True where both are literals of one address; `::ffff:127.0.0.1` is 127.0.0.1. */
export function isSameAddress(a: string, b: string): boolean {
  const [first, second] = [parse(a), parse(b)];
  return (
    first !== null && second !== null && unwrap(first).toNormalizedString() === unwrap(second).toNormalizedString()
  );
}
