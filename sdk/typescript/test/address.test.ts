// The guest has the last word on addresses. What this package reads by itself
// must be read alike.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Evaluator, KeymoatError } from "keymoat";
import { installed, listing, OPEN } from "./fixtures.js";

const address = (await import(new URL("dist/address.js", installed).href)) as {
  parseAddress: (text: string) => readonly number[] | undefined;
  formatAddress: (groups: readonly number[]) => string;
  blockOf: (text: string, bits: number) => string | undefined;
};

/** Numbers that are the same in every run. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 8;
  }
}

/** Texts that are addresses, nearly are, and are not. */
function texts(): Set<string> {
  const random = numbers(1);
  const below = (n: number): number => random.next().value % n;
  const pick = (from: readonly string[]): string => from[below(from.length)]!;
  const all = new Set([
    "", "0", "0.0.0.0", "255.255.255.255", "256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.04", "1..2.3",
    ".1.2.3", "1.2.3.", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "1.2.3.+4", "0x1.2.3.4", "1.2.3.4e1", "1.2.3.4/32",
    "16909060", "1.2.772", "00.0.0.0", "0.0.0.00", "1,2,3,4", "1.2.3.4:80", "[::1]", "::", "::1", ":::", "1::", "::1::",
    "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::",
    "1:2:3:4:5:6:1.2.3.4", "::1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304", "::fffe:1.2.3.4", "::ffff:0:1.2.3.4",
    "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5", "::1.2.3", "::01.2.3.4", "1.2.3.4::", "fe80::1%eth0", "::1%", "g::", "::G",
    ":1", "1:", "::1:", ":1::", "0:0:0:0:0:0:0:0", "0::0", "1:0:0:2:0:0:0:3", "00001::", "::00ff", "١.٢.٣.٤", "::１",
  ]); // prettier-ignore
  for (let i = 0; i < 4_000; i++) {
    all.add(Array.from({ length: 4 }, () => String(below(below(9) === 0 ? 300 : 256))).join("."));
    const groups = Array.from({ length: 8 }, () => pick(["0", "0", below(65536).toString(16)]));
    const at = below(8);
    groups.splice(at, below(4), ...(below(2) === 0 ? [""] : []));
    all.add(groups.join(":"));
    all.add(
      `${pick(["::ffff:", "::", "64:ff9b::"])}${Array.from({ length: 4 }, () => String(below(256))).join(".")}`,
    );
    const letters = Array.from({ length: below(12) }, () => pick("0129af:.::".split("")));
    all.add(letters.join(""));
  }
  return all;
}

test("an address is one here exactly if it is one to the guest", async () => {
  const evaluator = await Evaluator.fromJSON(listing("0.0.0.0/0", "::/0"));
  let readable = 0;
  for (const sourceIp of texts()) {
    const json = JSON.stringify({ AccessKeyId: OPEN, SourceIp: sourceIp });
    let expected: string | undefined;
    try {
      expected = evaluator.evaluateJSON(json).entry; // the guest reads and writes it
      readable++;
    } catch (error) {
      assert(error instanceof KeymoatError && error.code === "InvalidSourceIp");
    }
    assert.equal(address.parseAddress(sourceIp) !== undefined, expected !== undefined, sourceIp);
    const evaluate = (): string | undefined =>
      evaluator.evaluate({ accessKeyId: OPEN, sourceIp }).entry;
    if (expected === undefined) assert.throws(evaluate, { code: "InvalidSourceIp" }, sourceIp);
    else assert.equal(evaluate(), expected, sourceIp);
  }
  assert(readable > 8_000, String(readable));
});

test("the entry that matched is written as the guest writes it, at every length", async () => {
  const sources = [
    "203.0.113.77",
    "2001:db8:0:1:ffff:0:0:9",
    "::ffff:198.51.100.255",
    "ff00::",
    "::1:0:0:0",
    "1::2:0:3:0",
  ];
  for (const sourceIp of sources) {
    const bits = sourceIp.includes(".") ? 32 : 128;
    for (let length = 0; length <= bits; length++) {
      const block = `${sourceIp}/${String(sourceIp.startsWith("::ffff:") ? length + 96 : length)}`;
      const evaluator = length % 8 === 0 ? await Evaluator.fromJSON(listing(block)) : undefined;
      const entry = address.blockOf(sourceIp, length);
      assert(entry !== undefined);
      if (evaluator !== undefined) {
        const json = JSON.stringify({ AccessKeyId: OPEN, SourceIp: sourceIp });
        assert.equal(entry, evaluator.evaluateJSON(json).entry, block);
      }
    }
    assert.equal(address.blockOf(sourceIp, bits + 1), undefined);
  }
});

test("an address that was written is read as the same", () => {
  for (const text of texts()) {
    const groups = address.parseAddress(text);
    if (groups !== undefined) {
      assert.deepEqual(address.parseAddress(address.formatAddress(groups)), groups, text);
    }
  }
});
