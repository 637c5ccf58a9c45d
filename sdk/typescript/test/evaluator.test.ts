import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";
import {
  BatchError,
  compile,
  Evaluator,
  InvalidAccessKeyIdError,
  InvalidDocumentError,
  InvalidImageError,
  InvalidRequestError,
  InvalidSourceIpError,
  KeymoatError,
  NotLoadedError,
  RELEASE,
  TooLargeError,
  validate,
  type Decision,
  type HTTPRequest,
  type Request,
} from "keymoat";
import { CLOSED, from, installed, listing, OPEN, policySet, VPC } from "./fixtures.js";

const allowed: Decision = {
  effect: "Allow",
  reason: "Matched",
  level: "AccessKey",
  network: "Public",
  statement: 0,
  entry: "203.0.113.0/24",
};
const denied: Decision = {
  effect: "Deny",
  reason: "SourceIPNotListed",
  level: "AccessKey",
  network: "Public",
  code: "InvalidAccessKeyId.AccessPolicyDenied",
};

test("a decision tells who decided, and by which entry", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
  assert.deepEqual(evaluator.evaluate(from("198.51.100.7")), denied);
  assert.deepEqual(evaluator.evaluate({ ...from("192.168.3.4"), vpcId: VPC }), {
    ...allowed,
    network: "VPC",
    statement: 1,
    entry: "192.168.0.0/16",
  });
  assert.equal(evaluator.evaluate(from("2001:db8::1", OPEN)).entry, "::/0");
  assert.equal(
    evaluator.evaluate({ ...from("192.0.2.1"), service: "eventbridge" }).reason,
    "ExemptService",
  );
});

test("rules come from an object, from JSON, from bytes, from a file and from an image, and are the same", async () => {
  const folder = await mkdtemp(join(tmpdir(), "keymoat-"));
  try {
    const json = JSON.stringify(policySet);
    const path = join(folder, "policies.json");
    await writeFile(path, json);
    const image = await compile(policySet);
    const evaluators = await Promise.all([
      Evaluator.fromJSON(policySet),
      Evaluator.fromJSON(` \n${json}`),
      Evaluator.fromJSON(new TextEncoder().encode(json)),
      Evaluator.fromJSON(new TextEncoder().encode(json).buffer),
      Evaluator.fromFile(path),
      Evaluator.fromFile(pathToFileURL(path)),
      Evaluator.fromImage(image),
      Evaluator.fromImage(Uint8Array.from(image).buffer),
    ]);
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(image)));
    for (const evaluator of evaluators) {
      assert.equal(evaluator.revision, digest.toString("hex"));
      assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("without rules every call is refused", async () => {
  const evaluator = await Evaluator.create();
  const http: HTTPRequest = { target: "/", sourceIp: "203.0.113.1" };
  assert.equal(evaluator.revision, undefined);
  assert.throws(() => evaluator.evaluate(from("203.0.113.1")), NotLoadedError);
  assert.throws(() => evaluator.evaluateMany([from("203.0.113.1")]), NotLoadedError);
  assert.throws(() => evaluator.evaluateMany([]), NotLoadedError);
  assert.throws(
    () => evaluator.evaluateJSON(JSON.stringify({ AccessKeyId: OPEN, SourceIp: "::1" })),
    NotLoadedError,
  );
  assert.throws(() => evaluator.explain(from("203.0.113.1")), NotLoadedError);
  assert.throws(() => evaluator.authorize(http), NotLoadedError);
});

test("loading replaces the rules, and leaves them if it fails", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const before = evaluator.revision;
  const image = await compile(policySet);
  for (const bad of ["{}", "", "[]", '{"Accounts":[{}]}', Buffer.from([0xff]), image.subarray(1)]) {
    assert.throws(() => evaluator.load(bad), InvalidDocumentError);
  }
  assert.throws(() => evaluator.load(image.subarray(0, -1)), InvalidImageError);
  assert.equal(evaluator.revision, before);
  assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
  const revision = evaluator.load(listing("198.51.100.0/24"));
  assert.notEqual(revision, before);
  assert.equal(evaluator.revision, revision);
  assert.equal(evaluator.evaluate(from("203.0.113.9")).effect, "Deny");
  assert.equal(evaluator.evaluate(from("198.51.100.9")).entry, "198.51.100.0/24");
});

test("an image that is changed after it was loaded changes nothing", async () => {
  const image = await compile(policySet);
  const evaluator = await Evaluator.fromImage(image);
  image.fill(0);
  assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
});

test("what is no image is not loaded as one", async () => {
  const json = new TextEncoder().encode(JSON.stringify(policySet));
  for (const bad of [json, json.buffer, Buffer.from("junk"), "junk", new Uint8Array(), undefined]) {
    await assert.rejects(Evaluator.fromImage(bad as Uint8Array), InvalidImageError);
  }
});

test("a limit of memory that is none is refused", async () => {
  for (const memoryLimit of [0, -1, NaN, "1", null] as number[]) {
    const wrong = (error: unknown): boolean =>
      error instanceof RangeError &&
      error.message.includes(`memoryLimit is ${String(memoryLimit)};`);
    await assert.rejects(Evaluator.create({ memoryLimit }), wrong);
    await assert.rejects(validate(policySet, { memoryLimit }), wrong);
    await assert.rejects(compile(policySet, { memoryLimit }), wrong);
  }
  const evaluator = await Evaluator.fromJSON(policySet, { memoryLimit: Infinity });
  assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
});

test("what is wrong with a document is told with its place", async () => {
  const document = { Accounts: [{ AccountId: "1000000000000001", Extra: true }] };
  const report = await validate(JSON.stringify(document));
  assert.equal(report.valid, false);
  assert.deepEqual(
    report.errors.map(({ code, pointer }) => [code, pointer]),
    [["UnknownField", "/Accounts/0/Extra"]],
  );
  const evaluator = await Evaluator.create();
  assert.throws(
    () => evaluator.load(JSON.stringify(document)),
    (error) => {
      assert(error instanceof InvalidDocumentError && error instanceof KeymoatError);
      assert.equal(error.name, "InvalidDocumentError");
      assert.equal(error.code, "InvalidDocument");
      assert.match(error.message, /Extra/);
      assert.deepEqual(error.report, report);
      return true;
    },
  );
  await assert.rejects(compile(JSON.stringify(document)), InvalidDocumentError);
  const doubtful = await validate(listing("10.0.0.5/8"));
  assert.equal(doubtful.valid, true);
  assert.deepEqual(doubtful.warnings.map(({ code }) => code).sort(), [
    "HostBits",
    "PrivateAddress",
  ]);
});

test("JSON nested 100,000 levels deep is refused, and does no harm", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const revision = evaluator.revision;
  for (const deep of ["[".repeat(100_000), '{"Accounts":'.repeat(100_000)]) {
    assert.throws(() => evaluator.load(deep), InvalidDocumentError);
    await assert.rejects(compile(deep), InvalidDocumentError);
    assert.throws(() => evaluator.evaluateJSON(deep), InvalidRequestError);
    assert.equal((await validate(deep)).errors.at(-1)?.code, "Syntax");
    assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
  }
  assert.equal(evaluator.revision, revision);
});

test("a request that cannot be judged is an error, never a decision", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const long = "s".repeat(256);
  const cases: [unknown, typeof KeymoatError, string][] = [
    [{}, InvalidAccessKeyIdError, "InvalidAccessKeyId"],
    [{ accessKeyId: "", sourceIp: "203.0.113.1" }, InvalidAccessKeyIdError, "InvalidAccessKeyId"],
    [from("203.0.113.1", "LTAI/"), InvalidAccessKeyIdError, "InvalidAccessKeyId"],
    [from("203.0.113.1", long), InvalidAccessKeyIdError, "InvalidAccessKeyId"],
    [from("203.0.113.1", "schlüssel"), InvalidAccessKeyIdError, "InvalidAccessKeyId"],
    [{ accessKeyId: OPEN }, InvalidSourceIpError, "InvalidSourceIp"],
    [from(""), InvalidSourceIpError, "InvalidSourceIp"],
    [from(long), InvalidSourceIpError, "InvalidSourceIp"],
    [from("203.0.113.1:80"), InvalidSourceIpError, "InvalidSourceIp"],
    [from("2O3.0.113.1"), InvalidSourceIpError, "InvalidSourceIp"],
    [from("203.0.113.１"), InvalidSourceIpError, "InvalidSourceIp"],
    [{ accessKeyId: OPEN, sourceIp: 3405803777 }, InvalidRequestError, "InvalidRequest"],
    [{ accessKeyId: OPEN, sourceIp: null }, InvalidRequestError, "InvalidRequest"],
    [{ accessKeyId: [OPEN], sourceIp: "203.0.113.1" }, InvalidRequestError, "InvalidRequest"],
    [{ ...from("203.0.113.1"), vpcId: null }, InvalidRequestError, "InvalidRequest"],
    [{ ...from("203.0.113.1"), vpcId: 5 }, InvalidRequestError, "InvalidRequest"],
    [{ ...from("203.0.113.1"), service: long }, InvalidRequestError, "InvalidRequest"],
    [{ ...from("203.0.113.1"), action: "é".repeat(128) }, InvalidRequestError, "InvalidRequest"],
    [{ ...from("203.0.113.1"), protocol: "\ud800" }, InvalidRequestError, "InvalidRequest"],
  ];
  for (const [value, type, code] of cases) {
    const request = value as Request;
    const isRight = (error: unknown): boolean => error instanceof type && error.code === code;
    assert.throws(() => evaluator.evaluate(request), isRight, JSON.stringify(value));
    assert.throws(() => evaluator.explain(request), isRight, JSON.stringify(value));
    assert.throws(
      () => evaluator.evaluateMany([request]),
      (error) => error instanceof BatchError && isRight(error.errors.get(0)),
      JSON.stringify(value),
    );
    assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed, "and does no harm");
  }
  assert.throws(() => evaluator.evaluate(null as unknown as Request));
});

test("fields of any text arrive whole", async () => {
  const exempt = { ...policySet, ExemptServices: [{ Service: "é".repeat(127) }] };
  const evaluator = await Evaluator.fromJSON(exempt);
  const reason = (service: string): string =>
    evaluator.evaluate({ ...from("192.0.2.1"), service }).reason;
  assert.equal(reason("é".repeat(127)), "ExemptService");
  assert.equal(reason("é".repeat(126)), "SourceIPNotListed");
});

test("many requests get the decisions that each gets alone", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const requests: Request[] = [];
  for (let i = 0; i < 10_000; i++) {
    const sourceIp =
      i % 3 === 0 ? `2001:db8::${i.toString(16)}` : `203.0.${String(i % 200)}.${String(i % 256)}`;
    requests.push({
      ...from(sourceIp, i % 2 === 0 ? OPEN : CLOSED),
      vpcId: i % 5 === 0 ? VPC : undefined,
      action: "a".repeat(i % 256), // so that crossings end at different places
    });
  }
  const decisions = evaluator.evaluateMany(requests);
  assert.deepEqual(
    decisions,
    requests.map((request) => evaluator.evaluate(request)),
  );
  assert(new Set(decisions.map(({ reason }) => reason)).size >= 3);
  assert.deepEqual(evaluator.evaluateMany([]), []);
});

test("a batch is whatever can be iterated over, and nothing else", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const requests = [from("203.0.113.9"), from("198.51.100.7")];
  function* generated(): Iterable<Request> {
    yield* requests;
  }
  for (const batch of [
    requests,
    new Set(requests),
    generated(),
    new Map(requests.entries()).values(),
  ]) {
    assert.deepEqual(evaluator.evaluateMany(batch), [allowed, denied]);
  }
  const hole = new Array<Request>(1);
  for (const bad of [{}, { length: 1 }, null, undefined, hole, [null]] as Request[][]) {
    assert.throws(() => evaluator.evaluateMany(bad), TypeError);
  }
  assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), allowed);
});

test("requests in error are named, and all others of the batch are decided", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const requests = Array.from({ length: 6_000 }, () => from("203.0.113.9"));
  requests[1] = from("203.0.113.9", "LTAI/"); // the guest refuses it
  requests[5_500] = from("203.0.113.9", "x".repeat(300)); // it has no binary form
  requests[5_501] = from("nowhere");
  assert.throws(
    () => evaluator.evaluateMany(requests),
    (error) => {
      assert(error instanceof BatchError);
      assert.deepEqual(
        [...error.errors].map(([index, { code }]) => [index, code]),
        [
          [1, "InvalidAccessKeyId"],
          [5_500, "InvalidAccessKeyId"],
          [5_501, "InvalidSourceIp"],
        ],
      );
      assert.equal(error.code, "InvalidAccessKeyId");
      assert.match(error.message, /request 1 of the batch.*and 2 more/);
      assert.equal(error.decisions.length, 6_000);
      for (const [i, decision] of error.decisions.entries()) {
        assert.deepEqual(decision, error.errors.has(i) ? undefined : allowed);
      }
      return true;
    },
  );
});

test("requests in JSON are read as strictly as the guest reads them", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const request = { AccessKeyId: CLOSED, SourceIp: "203.0.113.9" };
  assert.deepEqual(evaluator.evaluateJSON(JSON.stringify(request)), allowed);
  assert.deepEqual(evaluator.evaluateJSON(Buffer.from(JSON.stringify(request))), allowed);
  const invalid = ["", "{", "null", '{"accessKeyId":"x"}', '{"SourceIp":"::1","SourceIp":"::1"}'];
  for (const json of invalid)
    assert.throws(() => evaluator.evaluateJSON(json), InvalidRequestError);
});

test("a trace tells each step", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const trace = evaluator.explain(from("203.0.113.9"));
  assert.deepEqual(trace.request, from("203.0.113.9"));
  assert.deepEqual(trace.decision, allowed);
  assert.equal(trace.revision, evaluator.revision);
  assert.deepEqual(
    trace.steps.map(({ step }) => step),
    ["Credential", "Service", "Owner", "Policy", "Network", "Source"],
  );
  assert.equal(trace.steps.at(-1)?.statements?.[0]?.verdict, "Matched");
});

test("an HTTP request is judged by the key that it claims", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const http = { target: "/", sourceIp: "203.0.113.9" };
  const signed = (...ids: string[]): [string, string][] =>
    ids.map((id) => ["Authorization", `acs ${id}:c2ln`]);
  const judge = (request: Partial<HTTPRequest>): string =>
    evaluator.authorize({ ...http, ...request }).reason;
  assert.deepEqual(evaluator.authorize({ ...http, headers: signed(CLOSED) }), allowed);
  assert.equal(
    judge({ target: `/?AccessKeyId=${CLOSED}`, sourceIp: "192.0.2.1" }),
    "SourceIPNotListed",
  );
  assert.equal(judge({ headers: signed(OPEN, CLOSED) }), "AmbiguousAccessKey");
  assert.equal(judge({ headers: new Headers(signed(OPEN, CLOSED)) }), "AmbiguousAccessKey");
  assert.equal(judge({ headers: new Map(signed(CLOSED)), vpcId: VPC }), "SourceIPNotListed");
  assert.equal(judge({}), "NoAccessKey");
  assert.equal(evaluator.authorize({ ...http, denyMissingAccessKey: true }).effect, "Deny");
  const form = {
    headers: [...signed(CLOSED), ["content-type", "multipart/form-data; boundary=x"]],
  };
  assert.equal(judge(form as Partial<HTTPRequest>), "Matched");
  assert.throws(
    () => judge({ ...form, denyFormBody: true } as Partial<HTTPRequest>),
    InvalidAccessKeyIdError,
  );
  assert.equal(judge({ headers: signed(CLOSED), denyFormBody: true }), "Matched");
  const both = { denyMissingAccessKey: true, denyFormBody: true };
  assert.equal(evaluator.authorize({ ...http, ...both }).effect, "Deny");
  assert.throws(() => judge({ target: "/?AccessKeyId=" }), InvalidAccessKeyIdError);
  for (const bad of [
    { target: 1 },
    { headers: ["Host: a"] },
    { headers: [["a", 1]] },
    { denyMissingAccessKey: "no" },
    { denyFormBody: "no" },
  ]) {
    assert.throws(
      () => judge(bad as unknown as HTTPRequest),
      InvalidRequestError,
      JSON.stringify(bad),
    );
  }
  const large = "x".repeat(1 << 20); // the buffer for requests grows
  assert.equal(
    judge({ target: `/?${large}`, headers: [...signed(CLOSED), ["é", large]] }),
    "Matched",
  );
  assert.equal(judge({ headers: signed(CLOSED) }), "Matched");
});

test("an HTTP request may have 16 MiB in its binary form, and no byte more", async () => {
  const evaluator = await Evaluator.fromJSON(policySet);
  const rest = 24 + 4 + 4; // the header, the length of the target, the number of headers
  const line = 4 + 4; // the lengths of a header's name and value
  const room = (16 << 20) - rest;
  const judge = (target: string, headers: [string, string][] = []): string =>
    evaluator.authorize({ target, headers, sourceIp: "203.0.113.9" }).reason;
  const refused = (error: unknown): boolean =>
    error instanceof TooLargeError &&
    /^an HTTP request has 16777216 bytes at most$/.test(error.message);
  const many = new Array<[string, string]>(100).fill(["a", ""]);
  const largest: [string, [string, string][]][] = [
    ["x".repeat(room), []],
    ["é".repeat(room / 2), []],
    ["x".repeat(room - line - 1), [["a", ""]]],
    ["", [["a", "x".repeat(room - line - 1)]]],
    ["x".repeat(room - 100 * (line + 1)), many],
  ];
  for (const [target, headers] of largest) {
    assert.equal(judge(target, headers), "NoAccessKey");
    assert.throws(() => judge(`${target}x`, headers), refused);
    assert.throws(() => judge(`${target}${"é".repeat(room)}`, headers), refused);
    assert.throws(() => judge(target, [...headers, ["", ""]]), refused);
  }
});

test("the package is of the release that its manifest names", async () => {
  const manifest = await readFile(new URL("package.json", installed), "utf8");
  assert.equal((JSON.parse(manifest) as { version: string }).version, RELEASE);
});
