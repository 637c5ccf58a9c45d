// Measures this package beside its peers on one workload, in one run, and
// prints one table: node compare.js FOLDER, which is what sdk/bench/workload
// and testdata/opa.go write; "make bench-typescript" does all of it. Every
// contender is first proved right on the requests it is measured with. Rounds of all contenders
// take turns and the quickest of each counts, so that what else the machine
// does falls on nobody alone.

import { readFileSync } from "node:fs";
import { BlockList } from "node:net";
import { cpus } from "node:os";
import { join } from "node:path";
import { loadPolicy } from "@open-policy-agent/opa-wasm";
import { Evaluator, type HTTPRequest, type PolicySet, type Request } from "keymoat";

const ROUNDS = 15;
const BATCH = 1000;

const folder = process.argv[2]!;
const policySet = JSON.parse(readFileSync(join(folder, "policy-set.json"), "utf8")) as PolicySet;

interface Line {
  Evaluate: { AccessKeyId: string; SourceIp: string; VpcId?: string };
  Expect: { Effect: string };
}
const lines = readFileSync(join(folder, "requests.ndjson"), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Line);
const expected = lines.map(({ Expect }) => Expect.Effect === "Allow");
const requests: Request[] = lines.map(({ Evaluate: { AccessKeyId, SourceIp, VpcId } }) => ({
  accessKeyId: AccessKeyId,
  sourceIp: SourceIp,
  vpcId: VpcId,
}));

interface Contender {
  readonly name: string;
  /** How many requests a round takes, from the first. */
  readonly requests: number;
  /** Judges requests one by one or together, and says which are allowed. */
  readonly judge: (requests: number) => boolean[];
}

function keymoat(evaluator: Evaluator): Contender[] {
  const http: HTTPRequest[] = requests.map(({ accessKeyId, sourceIp, vpcId }) => ({
    target: "/?Action=DescribeInstances",
    headers: [
      ["Host", "ecs.example.com"],
      [
        "Authorization",
        `ACS3-HMAC-SHA256 Credential=${accessKeyId},SignedHeaders=host,Signature=${"0".repeat(64)}`,
      ],
    ],
    sourceIp,
    vpcId,
  }));
  const batches: Request[][] = [];
  for (let at = 0; at < requests.length; at += BATCH) batches.push(requests.slice(at, at + BATCH));
  const allows = ({ effect }: { effect: string }): boolean => effect === "Allow";
  return [
    {
      name: "keymoat, evaluate",
      requests: requests.length,
      judge: (n) => requests.slice(0, n).map((request) => allows(evaluator.evaluate(request))),
    },
    {
      name: `keymoat, evaluateMany of ${BATCH.toLocaleString("en")}, per request`,
      requests: requests.length,
      judge: () => batches.flatMap((batch) => evaluator.evaluateMany(batch).map(allows)),
    },
    {
      name: "keymoat, authorize a signed HTTP request",
      requests: requests.length,
      judge: (n) => http.slice(0, n).map((request) => allows(evaluator.authorize(request))),
    },
  ];
}

/** The entries of each key by network. */
function lists(): Map<string, Map<string, string[]>> {
  return new Map(
    policySet.Accounts[0]!.AccessKeys!.map(({ AccessKeyId, AccessKeyPolicy }) => [
      AccessKeyId,
      new Map(
        AccessKeyPolicy!.Statements.map(({ Value, IPList }) => [
          Value ?? "public",
          IPList as string[],
        ]),
      ),
    ]),
  );
}

function blockList(): Contender {
  const keys = new Map(
    [...lists()].map(([key, networks]) => {
      const parsed = [...networks].map(([network, entries]) => {
        const list = new BlockList();
        for (const entry of entries) {
          const [address = "", length] = entry.split("/");
          const family = address.includes(":") ? "ipv6" : "ipv4";
          if (length === undefined) list.addAddress(address, family);
          else list.addSubnet(address, Number(length), family);
        }
        return [network, list] as const;
      });
      return [key, new Map(parsed)];
    }),
  );
  return {
    name: "net.BlockList and maps (no reasons, no levels)",
    requests: requests.length,
    judge: (n) =>
      requests.slice(0, n).map(({ accessKeyId, sourceIp, vpcId }) => {
        const list = keys.get(accessKeyId)?.get(vpcId ?? "public");
        return list?.check(sourceIp, sourceIp.includes(":") ? "ipv6" : "ipv4") ?? false;
      }),
  };
}

async function opaWasm(): Promise<Contender> {
  const policy = await loadPolicy(readFileSync(join(folder, "opa.wasm")));
  const blocks = (entries: string[]): string[] =>
    entries.map((entry) =>
      entry.includes("/") ? entry : `${entry}/${entry.includes(":") ? "128" : "32"}`,
    );
  const keys = [...lists()].map(([key, networks]) => [
    key,
    {
      active: true,
      networks: Object.fromEntries([...networks].map(([name, list]) => [name, blocks(list)])),
    },
  ]);
  policy.setData({ keys: Object.fromEntries(keys) as object });
  return {
    name: "OPA, opa-wasm, net.cidr_contains",
    requests: 80,
    judge: (n) =>
      requests.slice(0, n).map(({ accessKeyId, sourceIp, vpcId }) => {
        const input = {
          access_key_id: accessKeyId,
          network: vpcId ?? "public",
          source_ip: sourceIp,
        };
        const [answer] = policy.evaluate(input) as [{ result: boolean }];
        return answer.result;
      }),
  };
}

const contenders = [...keymoat(await Evaluator.fromJSON(policySet)), blockList(), await opaWasm()];
for (const { name, requests: n, judge } of contenders) {
  const wrong = judge(n).findIndex((allowed, i) => allowed !== expected[i]);
  if (wrong >= 0) throw new Error(`${name} is wrong on request ${String(wrong)}`);
}

const quickest = contenders.map(() => Infinity);
for (let round = 0; round < ROUNDS; round++) {
  for (const [i, { requests: n, judge }] of contenders.entries()) {
    const start = process.hrtime.bigint();
    judge(n);
    const ns = Number(process.hrtime.bigint() - start) / n;
    quickest[i] = Math.min(quickest[i]!, ns);
  }
}

console.log(`Node ${process.version}, ${cpus()[0]?.model ?? "unknown processor"}`);
console.log(
  `100 keys, ${requests.length.toLocaleString("en")} requests, quickest of ${String(ROUNDS)} rounds\n`,
);
console.log("| what | ns/op | beside evaluate |\n|---|--:|--:|");
for (const [i, { name }] of contenders.entries()) {
  const ratio = quickest[i]! / quickest[0]!;
  const digits = ratio < 10 ? 2 : 0;
  const ns = Math.round(quickest[i]!).toLocaleString("en");
  console.log(`| ${name} | ${ns} | ${ratio.toFixed(digits)}× |`);
}
