import assert from "node:assert/strict";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { test } from "node:test";
import {
  BatchError,
  Evaluator,
  InvalidDocumentError,
  InvalidImageError,
  InvalidRequestError,
  InvalidSourceIpError,
  NotLoadedError,
  TrapError,
  type HTTPRequest,
  type Request,
} from "keymoat";
import { WorkerEvaluator, type WorkerOptions } from "keymoat/worker";
import { failing, faultyGuest, from, listing, OPEN, policySet } from "./fixtures.js";

// Nothing here is about limits of time.
const patient = { timeLimit: 600_000, loadTimeLimit: 600_000 };

// Two sets of rules that give each request of these opposite answers.
const even = listing("203.0.113.0/25", "2001:db8::/33");
const odd = listing("203.0.113.128/25", "2001:db8:8000::/33");
const requests: Request[] = Array.from({ length: 64 }, (_, i) =>
  from(
    i % 4 === 0
      ? `2001:db8:${i % 8 === 0 ? "7" : "8"}000::${String(i)}`
      : `203.0.113.${String(i * 4)}`,
  ),
);
const effects = (set: typeof even): string =>
  requests
    .map(({ sourceIp }) => {
      const isLow = sourceIp.includes(":")
        ? sourceIp.includes(":7000:")
        : Number(sourceIp.split(".")[3]) < 128;
      return isLow === (set === even) ? "Allow" : "Deny";
    })
    .join();

if (isMainThread) {
  test("8 threads evaluate and reload, each by itself, and no answer is wrong", async () => {
    const counts = await Promise.all(
      Array.from({ length: 8 }, (_, seed) => {
        const worker = new Worker(new URL(import.meta.url), { workerData: seed });
        return new Promise<number>((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        });
      }),
    );
    assert.deepEqual(counts, Array(8).fill(10 * 40 * 64));
  });

  test("8 threads of one evaluator answer while rules change, none by rules that are no longer in force", async () => {
    let stop = false;
    const evaluator = await WorkerEvaluator.fromJSON(even, { ...patient, threads: 8 });
    try {
      const known = new Map([[evaluator.revision, effects(even)]]);
      let inForce = effects(even);
      let compared = 0;
      const asker = async (): Promise<void> => {
        while (!stop) {
          const before = inForce; // once a load has returned, its rules or later ones decide
          const answer = (await evaluator.evaluateMany(requests))
            .map(({ effect }) => effect)
            .join();
          assert(
            answer === effects(even) || answer === effects(odd),
            "a mixture of two sets of rules",
          );
          if (before === inForce && !loading) assert.equal(answer, inForce);
          compared++;
        }
      };
      let loading = false;
      const asking = Promise.all(Array.from({ length: 16 }, asker));
      asking.catch(() => undefined); // it is awaited below
      for (let round = 0; round < 4; round++) {
        const next = round % 2 === 0 ? odd : even;
        loading = true;
        const revision = await evaluator.load(next);
        inForce = effects(next);
        loading = false;
        known.set(revision, inForce);
        // Every thread answers by the new rules from here on.
        const answers = await Promise.all(
          Array.from({ length: 24 }, () => evaluator.evaluateMany(requests)),
        );
        for (const decisions of answers) {
          assert.equal(decisions.map(({ effect }) => effect).join(), inForce);
        }
      }
      stop = true;
      await asking;
      assert(compared > 100, String(compared));
      assert.equal(known.size, 2);
    } finally {
      stop = true;
      await evaluator.close();
    }
  });

  test("errors keep their kind on the way from a thread", async () => {
    const evaluator = await WorkerEvaluator.create(patient);
    await assert.rejects(evaluator.evaluate(from("203.0.113.9")), NotLoadedError);
    await assert.rejects(evaluator.load("{}"), (error) => {
      assert(error instanceof InvalidDocumentError);
      assert.equal(error.report.errors[0]?.code, "MissingField");
      return true;
    });
    await assert.rejects(WorkerEvaluator.fromJSON("{}", patient), InvalidDocumentError);
    await evaluator.load(policySet);
    await assert.rejects(evaluator.evaluate(from("nowhere")), InvalidSourceIpError);
    await assert.rejects(evaluator.evaluateJSON("{"), InvalidRequestError);
    await assert.rejects(
      evaluator.evaluateMany([from("203.0.113.9"), from("nowhere")]),
      (error) => {
        assert(error instanceof BatchError);
        assert.equal(error.decisions[0]?.effect, "Allow");
        assert(error.errors.get(1) instanceof InvalidSourceIpError);
        return true;
      },
    );
    const uncloneable = { ...from("203.0.113.9"), vpcId: Symbol("vpc") } as unknown as Request;
    await assert.rejects(evaluator.evaluate(uncloneable), TypeError);
    assert.equal((await evaluator.explain(from("203.0.113.9"))).revision, evaluator.revision);
    const headers = new Headers([["Authorization", `acs ${OPEN}:c2ln`]]);
    const decision = await evaluator.authorize({ target: "/", headers, sourceIp: "192.0.2.1" });
    assert.equal(decision.entry, "0.0.0.0/0");
    await evaluator.close();
    await assert.rejects(evaluator.evaluate(from("203.0.113.9")), NotLoadedError);
    await assert.rejects(evaluator.load(policySet), NotLoadedError);
  });

  test("what is no request is a TypeError, as without threads", async () => {
    const alone = await Evaluator.fromJSON(policySet);
    const evaluator = await WorkerEvaluator.fromJSON(policySet, patient);
    try {
      for (const nothing of [null, undefined] as unknown[]) {
        const request = nothing as Request;
        assert.throws(() => alone.evaluate(request), TypeError);
        await assert.rejects(evaluator.evaluate(request), TypeError);
        await assert.rejects(evaluator.explain(request), TypeError);
        await assert.rejects(evaluator.evaluateMany([request]), TypeError);
        await assert.rejects(evaluator.evaluateMany(nothing as Request[]), TypeError);
        await assert.rejects(evaluator.evaluateJSON(nothing as string), TypeError);
        await assert.rejects(evaluator.authorize(nothing as HTTPRequest), TypeError);
      }
      assert.equal((await evaluator.evaluateMany([from("203.0.113.9")].values())).length, 1);
    } finally {
      await evaluator.close();
    }
  });

  test("options that could not be kept are refused", async () => {
    const limits = [0, -1, NaN, -Infinity, 2 ** 31, "1", null];
    const wrong: [keyof WorkerOptions, unknown[]][] = [
      ["threads", [0, -1, NaN, 1.5, Infinity, "1", null]],
      ["timeLimit", limits],
      ["loadTimeLimit", limits],
      ["memoryLimit", [0, -1, NaN, "1", null]],
    ];
    for (const [name, values] of wrong) {
      for (const value of values) {
        await assert.rejects(WorkerEvaluator.create({ [name]: value }), (error) => {
          assert(error instanceof RangeError);
          assert(error.message.startsWith(`${name} is ${String(value)};`), error.message);
          return true;
        });
      }
    }
    await assert.rejects(WorkerEvaluator.fromImage(Buffer.from("{}")), InvalidImageError);
  });

  test("without limits of time calls are answered all the same", async () => {
    const limits = { timeLimit: Infinity, loadTimeLimit: Infinity, memoryLimit: Infinity };
    const evaluator = await WorkerEvaluator.fromJSON(policySet, limits);
    try {
      assert.equal((await evaluator.evaluate(from("203.0.113.9"))).effect, "Allow");
    } finally {
      await evaluator.close();
    }
  });

  test("a trap in a thread is an error, and the thread goes on with the same rules", async () => {
    const evaluator = await WorkerEvaluator.fromJSON(policySet, {
      ...patient,
      guest: faultyGuest(),
    });
    try {
      for (let round = 0; round < 3; round++) {
        await assert.rejects(evaluator.evaluate(failing("Panic")), TrapError);
        await assert.rejects(evaluator.evaluate(failing("Exit")), TrapError);
        assert.equal((await evaluator.evaluate(from("203.0.113.9"))).entry, "203.0.113.0/24");
      }
    } finally {
      await evaluator.close();
    }
  });
} else {
  const evaluator = await Evaluator.fromJSON((workerData as number) % 2 === 0 ? even : odd);
  let compared = 0;
  for (let round = 0; round < 10; round++) {
    const set = round % 2 === 0 ? odd : even;
    evaluator.load(set);
    for (let turn = 0; turn < 40; turn++) {
      const answers =
        turn % 2 === 0
          ? evaluator.evaluateMany(requests)
          : requests.map((request) => evaluator.evaluate(request));
      assert.equal(answers.map(({ effect }) => effect).join(), effects(set));
      compared += answers.length;
    }
  }
  parentPort?.postMessage(compared);
}
