import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  Evaluator,
  GuestError,
  KeymoatError,
  TimeoutError,
  TooLargeError,
  TrapError,
  validate,
  compile,
} from "keymoat";
import { WorkerEvaluator } from "keymoat/worker";
import {
  failing,
  faultyGuest,
  from,
  installed,
  listing,
  policySet,
  type Fault,
} from "./fixtures.js";

const guest = await WebAssembly.compile(faultyGuest() as BufferSource);

const traps: [Fault, RegExp][] = [
  ["Exit", /failed in keymoat_evaluate$/],
  ["Stack", /failed in keymoat_evaluate/],
  ["Panic", /failed in keymoat_evaluate: panic: on purpose/],
];

for (const [fault, message] of traps) {
  test(`after a trap (${fault}) a fresh instance has the same rules`, async () => {
    const evaluator = await Evaluator.fromJSON(policySet, { guest });
    const right = [evaluator.evaluate(from("203.0.113.9")), evaluator.evaluate(from("192.0.2.1"))];
    const { revision } = evaluator;
    for (let round = 0; round < 3; round++) {
      assert.throws(
        () => evaluator.evaluate(failing(fault)),
        (error) => {
          assert(error instanceof TrapError && error instanceof KeymoatError);
          assert.equal(error.code, "Internal");
          assert.match(error.message, message);
          assert(error.cause !== undefined);
          return true;
        },
      );
      assert.deepEqual(evaluator.evaluateMany([from("203.0.113.9"), from("192.0.2.1")]), right);
      assert.deepEqual(evaluator.explain(from("192.0.2.1")).decision, right[1]);
      assert.equal(evaluator.revision, revision);
    }
  });
}

test("an instance that trapped is not called again", async () => {
  const evaluator = await Evaluator.fromJSON(policySet, { guest });
  const right = evaluator.evaluate(from("203.0.113.9"));
  // A Go guest that trapped answers some calls rightly and then no more.
  for (let round = 0; round < 20; round++) {
    assert.throws(() => evaluator.evaluate(failing("Panic")), TrapError);
    for (let call = 0; call < 50; call++) {
      assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), right);
      evaluator.explain(from("203.0.113.9"));
    }
  }
});

test("a fault in any function refuses, and leaves the rules", async () => {
  const evaluator = await Evaluator.fromJSON(policySet, { guest });
  const right = evaluator.evaluate(from("203.0.113.9"));
  const { revision } = evaluator;
  const { accessKeyId } = failing("Exit");
  const calls = [
    () => evaluator.explain(failing("Exit")),
    () => evaluator.evaluateMany([from("203.0.113.9"), failing("Exit")]),
    () => evaluator.evaluateJSON(JSON.stringify({ AccessKeyId: accessKeyId })),
    () => evaluator.authorize({ target: `/?AccessKeyId=${accessKeyId}`, sourceIp: "203.0.113.1" }),
    () => evaluator.load(JSON.stringify({ Accounts: [{ AccountId: accessKeyId }] })),
  ];
  for (const call of calls) {
    assert.throws(call, TrapError);
    assert.equal(evaluator.revision, revision);
    assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), right);
  }
  const document = JSON.stringify({ Accounts: [{ AccountId: accessKeyId }] });
  await assert.rejects(validate(document, { guest }), TrapError);
  await assert.rejects(compile(document, { guest }), TrapError);
});

test("an instance whose memory has grown too large is replaced", async () => {
  const evaluator = await Evaluator.fromJSON(policySet, { guest, memoryLimit: 256 << 20 });
  const right = evaluator.evaluate(from("203.0.113.9"));
  // 48 MiB for each: without fresh instances 40 of them would not fit.
  for (let round = 0; round < 40; round++) {
    evaluator.evaluate(failing("Hoard"));
    assert.deepEqual(evaluator.evaluate(from("203.0.113.9")), right);
  }
});

test("rules that do not fit into the memory are refused, and the old ones stay", async () => {
  const evaluator = await Evaluator.fromJSON(policySet, { memoryLimit: 8 << 20 });
  const { revision } = evaluator;
  const keys = Array.from({ length: 30_000 }, (_, i) => ({
    AccessKeyId: `LTAI5tExample${String(i).padStart(11, "0")}`,
  }));
  const large = { Accounts: [{ AccountId: "1000000000000001", AccessKeys: keys }] };
  assert.throws(() => evaluator.load(large), TooLargeError);
  assert.throws(() => evaluator.load(" ".repeat(9 << 20)), TooLargeError);
  assert.equal(evaluator.revision, revision);
  assert.equal(evaluator.evaluate(from("203.0.113.9")).effect, "Allow");
});

test("what is no guest is refused before it runs", async () => {
  const real = readFileSync(new URL("keymoat.wasm", installed));
  const otherExport = Buffer.from(real);
  otherExport.write("keymoat_evaluatf", otherExport.indexOf("keymoat_evaluate"));
  const otherImport = Buffer.from(
    real.toString("latin1").replaceAll("wasi_snapshot_preview1", "wasi_snapshot_preview2"),
    "latin1",
  );
  const empty = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const cases: [Buffer, RegExp][] = [
    [Buffer.from("not wasm"), /does not compile/],
    [empty, /does not export its memory/],
    [otherExport, /does not export keymoat_evaluate/],
    [otherImport, /imports wasi_snapshot_preview2/],
  ];
  for (const [bytes, message] of cases) {
    await assert.rejects(Evaluator.create({ guest: bytes }), (error) => {
      assert(error instanceof GuestError);
      assert.match(error.message, message);
      return true;
    });
  }
});

/** The answer to a call that a healthy thread gives some time, however slow this machine. */
async function inTime<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
    }
  }
}

test("a call that takes too long is ended, and a fresh thread has the same rules", async () => {
  const expected = await Evaluator.fromJSON(policySet);
  const calls = [from("203.0.113.9"), from("192.0.2.1")];
  const right = expected.evaluateMany(calls);
  const evaluator = await WorkerEvaluator.fromJSON(policySet, {
    guest,
    timeLimit: 500,
    threads: 2,
  });
  try {
    for (let round = 0; round < 2; round++) {
      // More than there are threads, and calls that wait behind them.
      const stuck = Array.from({ length: 3 }, () =>
        assert.rejects(evaluator.evaluate(failing("Loop")), (error) => {
          assert(error instanceof TimeoutError);
          assert.equal(error.code, "Internal");
          assert.match(error.message, /evaluate took longer than 500 ms/);
          return true;
        }),
      );
      const waiting = Array.from({ length: 20 }, (_, i) =>
        inTime(() => evaluator.evaluate(calls[i % 2]!)),
      );
      await Promise.all(stuck);
      for (const [i, decision] of (await Promise.all(waiting)).entries()) {
        assert.deepEqual(decision, right[i % 2]);
      }
      assert.deepEqual(await inTime(() => evaluator.evaluateMany(calls)), right);
      assert.equal(evaluator.revision, expected.revision);
    }
  } finally {
    await evaluator.close();
  }
});

test("rules that take too long to compile are refused, and the old ones stay", async () => {
  const options = { guest, loadTimeLimit: 3_000 };
  const evaluator = await inTime(() => WorkerEvaluator.fromJSON(policySet, options));
  try {
    const { revision } = evaluator;
    const document = JSON.stringify({ Accounts: [{ AccountId: failing("Loop").accessKeyId }] });
    await assert.rejects(evaluator.load(document), TimeoutError);
    assert.equal(evaluator.revision, revision);
    assert.equal((await inTime(() => evaluator.evaluate(from("203.0.113.9")))).effect, "Allow");
    const next = await inTime(() => evaluator.load(listing("198.51.100.0/24")));
    assert.notEqual(next, revision);
  } finally {
    await evaluator.close();
  }
});
