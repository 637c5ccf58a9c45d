// IP addresses as the guest reads and writes them: RFC 4291 without port,
// brackets, zone, leading zeros or space, IPv4-mapped IPv6 being IPv4. The
// guest has the last word on the source address of a request; what is here
// serves to name the entry that matched, and to know one's own proxies. The
// tests hold it to the guest's reading.

/** An address as its eight 16-bit groups; IPv4 is mapped. */
export type Groups = readonly number[];

/** Reads a plain dotted quad into 32 bits; -1 for anything else. */
export function parseIPv4(text: string): number {
  let address = 0;
  let octet = -1;
  let octets = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x30 && c <= 0x39) {
      if (octet === 0) return -1; // a leading zero
      octet = octet < 0 ? c - 0x30 : octet * 10 + c - 0x30;
      if (octet > 255) return -1;
    } else if (c === 0x2e && octet >= 0 && octets < 3) {
      address = (address << 8) | octet;
      octet = -1;
      octets++;
    } else {
      return -1;
    }
  }
  return octets === 3 && octet >= 0 ? ((address << 8) | octet) >>> 0 : -1;
}

/** Reads an address; undefined if it is none. */
export function parseAddress(text: string): Groups | undefined {
  const ipv4 = parseIPv4(text);
  if (ipv4 >= 0) return [0, 0, 0, 0, 0, 0xffff, ipv4 >>> 16, ipv4 & 0xffff];
  const groups: number[] = [];
  let gap = -1; // where "::" stands for zeros
  let i = 0;
  if (text.startsWith("::")) [gap, i] = [0, 2];
  while (i < text.length) {
    if (groups.length === 8) return undefined;
    const start = i;
    let group = 0;
    for (let digit; i < text.length && (digit = hexDigit(text.charCodeAt(i))) >= 0; i++) {
      group = (group << 4) | digit;
    }
    if (i < text.length && text.charCodeAt(i) === 0x2e) {
      const quad = parseIPv4(text.slice(start));
      if (quad < 0 || groups.length > 6) return undefined;
      groups.push(quad >>> 16, quad & 0xffff);
      break;
    }
    if (i === start || i - start > 4) return undefined;
    groups.push(group);
    if (i === text.length) break;
    if (text.charCodeAt(i) !== 0x3a || ++i === text.length) return undefined;
    if (text.charCodeAt(i) === 0x3a) {
      if (gap >= 0) return undefined;
      gap = groups.length;
      i++;
    }
  }
  const missing = 8 - groups.length;
  if (gap < 0 ? missing !== 0 : missing === 0) return undefined;
  if (gap >= 0) groups.splice(gap, 0, ...ZEROS.slice(0, missing));
  return groups;
}

const ZEROS: Groups = [0, 0, 0, 0, 0, 0, 0, 0];

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const letter = c | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function isIPv4(groups: Groups): boolean {
  if (groups[5] !== 0xffff) return false;
  for (let i = 0; i < 5; i++) if (groups[i] !== 0) return false;
  return true;
}

/** Writes an address as RFC 5952 recommends. */
export function formatAddress(groups: Groups): string {
  if (isIPv4(groups)) return formatIPv4((((groups[6] ?? 0) << 16) | (groups[7] ?? 0)) >>> 0);
  let start = -1; // of the longest run of zeros
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (groups[i + n] === 0) n++;
    if (n > longest) [start, longest] = [i, n];
  }
  let text = "";
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      text += "::";
      i += longest - 1;
    } else {
      if (i > 0 && i !== start + longest) text += ":";
      text += (groups[i] ?? 0).toString(16);
    }
  }
  return text;
}

function formatIPv4(a: number): string {
  return `${String(a >>> 24)}.${String((a >>> 16) & 0xff)}.${String((a >>> 8) & 0xff)}.${String(a & 0xff)}`;
}

/** The block of this many bits that holds an address; undefined if there is none. */
export function blockOf(source: string, bits: number): string | undefined {
  const ipv4 = parseIPv4(source);
  if (ipv4 >= 0) {
    if (bits === 32) return `${source}/32`;
    if (bits > 32) return undefined;
    return `${formatIPv4(bits === 0 ? 0 : ipv4 & (-1 << (32 - bits)))}/${String(bits)}`;
  }
  const groups = parseAddress(source);
  if (groups === undefined) return undefined;
  const before = isIPv4(groups) ? 96 : 0; // bits that a mapped address has in front
  if (before + bits > 128) return undefined;
  return `${formatAddress(masked(groups, before + bits))}/${String(bits)}`;
}

function masked(groups: Groups, bits: number): Groups {
  return groups.map((group, i) => group & (0xffff0000 >> Math.min(Math.max(bits - 16 * i, 0), 16)));
}

/** A network that someone is believed from. */
export class Block {
  readonly #first: Groups;
  readonly #bits: number;
  readonly #ipv4: boolean;

  /** Reads an address or a block; throws a TypeError if it is none. */
  constructor(text: string) {
    const slash = text.indexOf("/");
    const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
    const length = slash < 0 ? undefined : text.slice(slash + 1);
    if (address === undefined || (length !== undefined && !/^(0|[1-9][0-9]{0,2})$/.test(length))) {
      throw new TypeError(`${JSON.stringify(text)} is not a network`);
    }
    this.#ipv4 = isIPv4(address);
    const before = this.#ipv4 && !text.includes(":") ? 96 : 0;
    this.#bits = length === undefined ? 128 : before + Number(length);
    if (this.#bits > 128 || (this.#ipv4 && this.#bits < 96)) {
      throw new TypeError(`${JSON.stringify(text)} is not a network`);
    }
    this.#first = masked(address, this.#bits);
  }

  contains(address: Groups): boolean {
    if (isIPv4(address) !== this.#ipv4) return false; // ::/0 holds no IPv4
    return masked(address, this.#bits).every((group, i) => group === this.#first[i]);
  }
}
