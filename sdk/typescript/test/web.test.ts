// The handlers in front of real servers: what gets through, and what does not.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import express from "express";
import { Evaluator, TrapError, type Decision } from "keymoat";
import { guard as expressGuard, type GuardOptions, type Refusal } from "keymoat/express";
import { guard as fetchGuard } from "keymoat/fetch";
import { WorkerEvaluator } from "keymoat/worker";
import { CLOSED, installed, OPEN, policySet, repository, VPC } from "./fixtures.js";

const evaluator = await Evaluator.fromJSON(policySet);
const from = "198.51.100.7"; // the attacker's address; CLOSED may not be used from there

interface Served {
  readonly port: number;
  readonly refusals: Refusal[];
  requests: number; // that the service behind the guard saw
}

const servers: Server[] = [];

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return (server.address() as AddressInfo).port;
}

/** An Express application. Its peer is 127.0.0.1, so that a proxy speaks to it. */
async function serveExpress(
  options: GuardOptions = {},
  rules: { authorize: Evaluator["authorize"] } = evaluator,
): Promise<Served> {
  const refusals: Refusal[] = [];
  const app = express();
  app.use(expressGuard(rules, { onRefusal: (refusal) => refusals.push(refusal), ...options }));
  app.use((_request, response) => {
    served.requests++;
    response.send("served");
  });
  const served: Served = { port: await listen(createServer(app)), refusals, requests: 0 };
  return served;
}

/** The same with a handler in the style of fetch, behind Node's server. */
async function serveFetch(options: GuardOptions = {}): Promise<Served> {
  const refusals: Refusal[] = [];
  const handler = fetchGuard(
    evaluator,
    (_request: Request, _address: string | undefined) => {
      served.requests++;
      return new Response("served");
    },
    {
      clientAddress: (_request, address) => address,
      onRefusal: (refusal) => refusals.push(refusal),
      ...options,
    },
  );
  const server = createServer((incoming, outgoing) => {
    const headers = new Headers();
    for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
      headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!);
    }
    const url = new URL(incoming.url!, "http://service.example");
    void handler(new Request(url, { headers }), incoming.socket.remoteAddress).then(
      async (answer) => {
        const body = await answer.text();
        outgoing.setHeader("Content-Length", Buffer.byteLength(body));
        outgoing.writeHead(answer.status, [...answer.headers].flat()).end(body);
      },
    );
  });
  const served: Served = { port: await listen(server), refusals, requests: 0 };
  return served;
}

/** Sends lines as they are, which no client library would, and returns the answer. */
function exchange(
  port: number,
  target: string,
  lines: readonly string[] = [],
): Promise<{ status: number; headers: string; body: string }> {
  const message = [`GET ${target} HTTP/1.1`, "Host: a", "Connection: close", ...lines, "", ""].join(
    "\r\n",
  );
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(message, "latin1"));
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => (text += chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      const end = text.indexOf("\r\n\r\n");
      resolve({
        status: Number(text.slice(9, 12)),
        headers: text.slice(0, end),
        body: text.slice(end + 4),
      });
    });
  });
}

const signed = (id: string): string => `Authorization: acs ${id}:c2ln`;
const proxied = { forwardedFor: ["127.0.0.0/8", "10.0.0.0/8", "2001:db8:5::/48"] };

after(() => {
  for (const server of servers) server.close();
});

const attacks: [name: string, target: string, lines: string[]][] = [
  ["the other key in the query", `/?AccessKeyId=${OPEN}`, [signed(CLOSED)]],
  ["the other key in front", "/", [signed(OPEN), signed(CLOSED)]],
  [
    "the other key behind",
    "/",
    [signed(CLOSED), signed(OPEN).toLowerCase().replace(OPEN.toLowerCase(), OPEN)],
  ],
  ["joined by a comma", "/", [`Authorization: acs ${OPEN}:c2ln, acs ${CLOSED}:c2ln`]],
  ["in two headers", "/", [`x-ots-accesskeyid: ${OPEN}`, signed(CLOSED)]],
  ["twice in the query", `/?AccessKeyId=${OPEN}&AccessKeyId=${CLOSED}`, []],
  ["an encoded name", `/?%41ccessKeyId=${CLOSED}`, []],
  ["an encoded id", `/?AccessKeyId=%4c${CLOSED.slice(1)}`, []],
  ["an encoded name behind the other key", `/?AccessKeyId=${OPEN}&%41%63cessKeyId=${CLOSED}`, []],
  ["a semicolon", `/?AccessKeyId=${OPEN};AccessKeyId=${CLOSED}`, []],
  ["a bad escape", `/?AccessKeyId=%zz${CLOSED}`, []],
  ["a second question mark", `/?x?AccessKeyId=${CLOSED}`, []],
  ["a key id that cannot be read", "/?AccessKeyId=CLO%00SED", []],
  ["an absolute target", `http://other.example/?AccessKeyId=${CLOSED}`, []],
  ["a header in odd case", "/", [signed(CLOSED).replace("Authorization", "aUTHORIZATION")]],
  [
    "a session token does not make a key temporary",
    "/",
    [signed(CLOSED), "x-acs-security-token: x"],
  ],
  [
    "a service in a header is not the service",
    "/?Service=EventBridge",
    [signed(CLOSED), "x-acs-product: EventBridge"],
  ],
  ["many parameters", `/?${`AccessKeyId=${OPEN}&`.repeat(100)}AccessKeyId=${CLOSED}`, []],
  [
    "other headers that name addresses",
    "/",
    [
      signed(CLOSED),
      "X-Real-IP: 203.0.113.1",
      "Forwarded: for=203.0.113.1",
      "X_Forwarded_For: 203.0.113.1",
    ],
  ],
  ["a VPC header", "/", [signed(CLOSED), `X-Vpc-Id: ${VPC}`]],
];

const spoofed: [name: string, lines: string[]][] = [
  ["an entry in front", [`X-Forwarded-For: 203.0.113.1, ${from}`]],
  ["two lines", ["X-Forwarded-For: 203.0.113.1", `X-Forwarded-For: ${from}`]],
  ["names of proxies", [`X-Forwarded-For: 203.0.113.1, 10.0.0.5, ${from}, 10.0.0.2`]],
  ["an entry that is none", [`X-Forwarded-For: 203.0.113.1 ${from}`]],
  ["an empty entry", ["X-Forwarded-For: 203.0.113.1,"]],
  ["unknown", ["X-Forwarded-For: 203.0.113.1, unknown"]],
  ["a zone", ["X-Forwarded-For: 203.0.113.1, fe80::1%eth0"]],
  ["leading zeros", ["X-Forwarded-For: 203.0.113.001"]],
  ["a mapped address of someone else", [`X-Forwarded-For: 203.0.113.1, ::ffff:${from}`]],
  ["an IPv6 address of someone else", ["X-Forwarded-For: 203.0.113.1, 2001:db8:6::1"]],
];

for (const [kind, serve] of [
  ["express", serveExpress],
  ["fetch", serveFetch],
] as const) {
  let plain: Served;
  let behind: Served;
  before(async () => {
    plain = await serve();
    behind = await serve(proxied);
  });

  for (const [name, target, lines] of attacks) {
    test(`${kind}: no attack gets through: ${name}`, async () => {
      for (const [served, more] of [
        [plain, [`X-Forwarded-For: 203.0.113.1`]], // nobody is believed there
        [behind, [`X-Forwarded-For: ${from}`]],
      ] as const) {
        const { requests } = served;
        const { status, body } = await exchange(served.port, target, [...lines, ...more]);
        assert.equal(status, 403);
        assert.match(body, /^\{"Code":"InvalidAccessKeyId/);
        assert.equal(served.requests, requests, "the service must not see the request");
      }
    });
  }

  for (const [name, lines] of spoofed) {
    test(`${kind}: no spoofed address gets through: ${name}`, async () => {
      const { requests } = behind;
      const { status, body } = await exchange(behind.port, "/", [signed(CLOSED), ...lines]);
      assert.equal(status, 403);
      assert.match(body, /^\{"Code":"Invalid/);
      assert.equal(behind.requests, requests, "the service must not see the request");
    });
  }

  test(`${kind}: who may, gets through, wherever the address stands`, async () => {
    for (const line of [
      "X-Forwarded-For: 203.0.113.9",
      "X-Forwarded-For: 203.0.113.9:4711",
      "X-Forwarded-For: ::ffff:203.0.113.9",
      "X-Forwarded-For: [::ffff:203.0.113.9]",
      "X-Forwarded-For: [::ffff:203.0.113.9]:65535",
      "X-Forwarded-For: nowhere, 203.0.113.9 ,\t10.9.9.9, 2001:db8:5::1",
    ]) {
      const { status, body } = await exchange(behind.port, "/", [signed(CLOSED), line]);
      assert.deepEqual([status, body], [200, "served"], line);
    }
    for (const served of [plain, behind]) {
      assert.equal((await exchange(served.port, "/", [signed(OPEN)])).status, 200);
      assert.equal((await exchange(served.port, "/")).status, 200, "a request that claims no key");
    }
    for (const port of ["65536", "80x", "-1", ""]) {
      const line = `X-Forwarded-For: 203.0.113.9:${port}`;
      assert.equal((await exchange(behind.port, "/", [signed(CLOSED), line])).status, 403, line);
    }
  });

  test(`${kind}: the answer is that of the other hosts`, async () => {
    const refused = await exchange(behind.port, "/secret?Signature=x", [
      signed(CLOSED),
      `X-Forwarded-For: ${from}`,
      'X-Request-Id: 8906"582E',
    ]);
    assert.equal(
      refused.body,
      `{"Code":"InvalidAccessKeyId.AccessPolicyDenied","Message":"Specified access key denied due to access policy. The source address is ${from}.","SourceIp":"${from}","RequestId":"8906\\"582E"}\n`,
    );
    assert.match(refused.headers, /cache-control: no-store/i);
    assert.match(refused.headers, /content-type: application\/json\r/i);
    assert.match(refused.headers, /x-content-type-options: nosniff/i);
    const refusal = behind.refusals.at(-1)!;
    assert.equal(refusal.decision?.reason, "SourceIPNotListed");
    assert.deepEqual(
      [refusal.sourceIp, refusal.method, refusal.path, refusal.passed],
      [from, "GET", "/secret", false],
    );
    assert(!JSON.stringify(behind.refusals).includes(CLOSED), "no record holds a whole key id");
  });

  test(`${kind}: the options decide as those of the other hosts do`, async () => {
    const status = async (options: GuardOptions, lines: string[]): Promise<number> =>
      (await exchange((await serve({ ...proxied, ...options })).port, "/", lines)).status;
    const far = `X-Forwarded-For: ${from}`;
    assert.equal(await status({ denyMissingAccessKey: true }, [far]), 403);
    assert.equal(await status({ service: "EventBridge" }, [signed(CLOSED), far]), 200);
    assert.equal(await status({ account: "1000000000000009" }, [signed(OPEN), far]), 403);
    assert.equal(await status({ vpc: VPC }, [signed(CLOSED), "X-Forwarded-For: 192.168.0.7"]), 200);
    assert.equal(
      await status({ vpc: "vpc-other" }, [signed(CLOSED), "X-Forwarded-For: 192.168.0.7"]),
      403,
    );
    assert.equal(await status({ reportOnly: true }, [signed(CLOSED), far]), 200);
    assert.equal(
      await status({ reportOnly: true }, [signed(CLOSED), "X-Forwarded-For: nowhere"]),
      200,
    );
    const form = ["Content-Type: application/x-www-form-urlencoded", signed(OPEN), far];
    assert.equal(await status({}, form), 200);
    assert.equal(await status({ denyFormBody: true }, form), 403);
    assert.equal(await status({ denyFormBody: true }, [signed(OPEN), far]), 200);
  });
}

test("options that could not be kept are refused when the guard is made", () => {
  const wrong: [string, unknown[]][] = [
    ["forwardedFor", ["10.0.0.0/8", [], [1], null, {}]],
    ["service", ["", "s".repeat(256), "é".repeat(128), "\ud800", 1, null]],
    ["account", ["", "bad account!", "1".repeat(129), 1000000000000001, null]],
    ["vpc", ["", "vpc-?", ["vpc-a"], null]],
    ["denyMissingAccessKey", ["no", 1, null]],
    ["denyFormBody", ["no", 1, null]],
    ["reportOnly", ["no", 1, null]],
    ["onRefusal", ["log", null]],
  ];
  const clientAddress = (): string => from;
  const handler = (): Response => new Response("served");
  for (const [name, values] of wrong) {
    for (const value of values) {
      const refused = (error: unknown): boolean => {
        assert(error instanceof TypeError);
        assert.match(error.message, new RegExp(`^the guard cannot be made: ${name} `));
        return true;
      };
      const options = { [name]: value };
      assert.throws(() => expressGuard(evaluator, options), refused);
      assert.throws(() => fetchGuard(evaluator, handler, { clientAddress, ...options }), refused);
    }
  }
  for (const network of ["nowhere", "::ffff:0:0/95", "10.0.0.0/33"]) {
    assert.throws(() => expressGuard(evaluator, { forwardedFor: [network] }), {
      name: "TypeError",
      message: `"${network}" is not a network`,
    });
  }
  for (const none of [undefined, null, {}, Evaluator.fromJSON(policySet)] as unknown[]) {
    assert.throws(() => expressGuard(none as Evaluator), /no evaluator; await Evaluator/);
  }
  assert.throws(
    () => fetchGuard(evaluator, handler, {} as { clientAddress: () => string }),
    /^TypeError: clientAddress is not a function/,
  );
  const noHandler = undefined as unknown as () => Response;
  assert.throws(() => fetchGuard(evaluator, noHandler, { clientAddress }), /the handler is not/);
});

const faults: [string, (request: unknown) => unknown][] = [
  ["throws", () => { throw new TrapError("on purpose"); }],
  ["throws what is no error", () => { throw undefined as unknown as Error; }],
  ["rejects", () => Promise.reject(new Error("on purpose"))],
  ["answers nothing", () => undefined],
  ["answers nonsense", () => ({ effect: "Perhaps" })],
]; // prettier-ignore

for (const [name, authorize] of faults) {
  test(`an evaluator that ${name} refuses, in report-only mode too`, async () => {
    for (const reportOnly of [false, true]) {
      const rules = { authorize: authorize as () => Decision };
      const served = await serveExpress({ reportOnly }, rules);
      const { status, body } = await exchange(served.port, "/", [signed(OPEN)]);
      assert.equal(status, 403);
      assert.match(body, /^\{"Code":"Internal","Message":"The request could not be judged\./);
      assert.equal(served.requests, 0);
      assert.equal(served.refusals.at(-1)?.problem, "Internal");
    }
  });
}

test("without rules everything is refused", async () => {
  const served = await serveExpress({ reportOnly: true }, await Evaluator.create());
  const { status, body } = await exchange(served.port, "/", [signed(OPEN)]);
  assert.equal(status, 403);
  assert.match(body, /^\{"Code":"NotLoaded"/);
});

test("an address that the caller's function cannot give refuses", async () => {
  const asks: (() => string | undefined)[] = [() => undefined, () => "", () => "unix:", () => { throw new Error("on purpose"); }]; // prettier-ignore
  for (const clientAddress of asks) {
    const handler = fetchGuard(evaluator, () => new Response("served"), {
      clientAddress,
      onRefusal: () => undefined,
    });
    assert.equal((await handler(new Request("http://service.example/"))).status, 403);
  }
});

test("a refusal stands when the one who is told of it fails", async () => {
  const clientAddress = (): string => from;
  const failure = new Error("on purpose");
  const failing = [() => { throw failure; }, () => Promise.reject(failure)]; // prettier-ignore
  for (const onRefusal of failing) {
    // A rejection that nobody handles would fail this test.
    const handler = fetchGuard(evaluator, () => new Response("served"), {
      clientAddress,
      onRefusal,
    });
    const request = new Request(`http://service.example/?AccessKeyId=${CLOSED}`);
    assert.equal((await handler(request)).status, 403);
  }
});

test("what a handler behind the guard throws is its own, as without a guard", async () => {
  const program = `
    import { createServer } from "node:http";
    import { Evaluator } from "keymoat";
    import { guard } from "keymoat/express";
    const admit = guard(await Evaluator.fromJSON({ Accounts: [] }));
    const server = createServer((request, response) => {
      admit(request, response, () => { throw new Error("on purpose"); });
    });
    for (const event of ["uncaughtException", "unhandledRejection"]) {
      process.on(event, (error) => {
        console.log(event, error.message);
        process.exit();
      });
    }
    server.listen(0, "127.0.0.1", () => fetch("http://127.0.0.1:" + server.address().port));`;
  const args = ["--no-warnings", "--input-type=module", "--eval", program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: installed });
  assert.equal(stdout, "uncaughtException on purpose\n");
});

test("if something in front has rewritten the query, both are read", async () => {
  const app = express();
  app.use((request, _response, next) => {
    request.url = `/?AccessKeyId=${CLOSED}`;
    next();
  });
  app.use(expressGuard(evaluator, { onRefusal: () => undefined }));
  app.use((_request, response) => void response.send("served"));
  const port = await listen(createServer(app));
  assert.equal((await exchange(port, "/")).status, 403);
  assert.equal((await exchange(port, `/?AccessKeyId=${OPEN}`)).status, 403);
});

test("a mounted guard sees the whole target", async () => {
  const app = express();
  app.use("/api", expressGuard(evaluator, { onRefusal: () => undefined }));
  app.use((_request, response) => void response.send("served"));
  const port = await listen(createServer(app));
  assert.equal((await exchange(port, `/api/x?AccessKeyId=${CLOSED}`)).status, 403);
  assert.equal((await exchange(port, `/api/x?AccessKeyId=${OPEN}`)).status, 200);
});

test("threads can judge for a server", async () => {
  const threads = await WorkerEvaluator.fromJSON(policySet, { timeLimit: 600_000 });
  try {
    const app = express();
    app.use(expressGuard(threads, { onRefusal: () => undefined }));
    app.use((_request, response) => void response.send("served"));
    const port = await listen(createServer(app));
    assert.equal((await exchange(port, "/", [signed(CLOSED)])).status, 403);
    assert.equal((await exchange(port, "/", [signed(OPEN)])).status, 200);
  } finally {
    await threads.close();
  }
});

test("the JSON of a denial is that of the golden file of plugin/denial", async () => {
  const { denialJSON } = (await import(new URL("dist/denial.js", installed).href)) as {
    denialJSON: (denial: object) => string;
  };
  const golden = readFileSync(new URL("plugin/denial/testdata/json.golden", repository), "utf8");
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  const hostile = `${bytes('"},"Code":"OK"</Message><Code>&amp;\\\r\nX: 1\0\x7f\u0085\u2028')}\xff\xed\xa0\x80${bytes("\ufffe…")}`;
  const none = { sourceIp: "", vpcId: "", requestId: "" };
  const at = { ...none, sourceIp: "203.0.113.9" };
  const known: Record<string, object> = {
    "a public call from an address that is not listed": {
      ...at,
      reason: "SourceIPNotListed",
      requestId: "8906582E-0001",
    },
    "a call from a VPC": {
      reason: "VPCNotListed",
      sourceIp: "192.168.0.7",
      vpcId: VPC,
      requestId: "8906582E-0001",
    },
    "an IPv6 address and nothing else known": {
      ...none,
      reason: "NoPublicPolicy",
      sourceIp: "2001:db8::1",
    },
    "no access key": { ...at, reason: "NoAccessKey" },
    "two access keys": { ...at, reason: "AmbiguousAccessKey" },
    "an access key that cannot be read": { ...at, problem: "InvalidAccessKeyId" },
    "an address that cannot be read": {
      ...none,
      problem: "InvalidSourceIp",
      sourceIp: "010.0.0.1",
    },
    "an address that is not known": { ...none, problem: "InvalidSourceIp" },
    "nothing loaded": { ...at, problem: "NotLoaded" },
    "an internal fault": { ...none, problem: "Internal" },
    "hostile values": { sourceIp: hostile, vpcId: hostile, requestId: hostile },
  };
  const seen = new Set<string>();
  for (const [, name, body] of golden.matchAll(/^# (.*)\n(.*\n)/gm)) {
    const denial = known[name!];
    if (denial === undefined) continue; // this host does not refuse so
    assert.equal(denialJSON(denial), body, name);
    seen.add(name!);
  }
  assert.deepEqual([...seen].sort(), Object.keys(known).sort());
});

test("what a caller sent is cut in the answer, not within a character", async () => {
  const served = await serveExpress({ forwardedFor: ["127.0.0.1"] });
  const line = `X-Request-Id: ${"x".repeat(254)}${Buffer.from("é").toString("latin1")}`;
  const { body } = await exchange(served.port, `/?AccessKeyId=${CLOSED}`, [line]);
  assert.match(body, /"RequestId":"x{254}"/);
});
