// The inside of a thread that worker.ts starts.

import { parentPort, workerData } from "node:worker_threads";
import type { Document, HTTPRequest, Request } from "./documents.js";
import { compile, Evaluator } from "./evaluator.js";
import { plainError, type Answer, type Call, type Start } from "./worker-protocol.js";

const { module, memoryLimit, image } = workerData as Start;
const options = { guest: module, memoryLimit };
const port = parentPort!;

async function answered(work: () => unknown): Promise<void> {
  let answer: Answer;
  try {
    answer = { result: await work() };
  } catch (error) {
    answer = { error: plainError(error) };
  }
  port.postMessage(answer);
}

let evaluator: Evaluator;

await answered(async () => {
  evaluator = await Evaluator.create(options);
  return image === undefined ? undefined : evaluator.load(image);
});

port.on("message", ({ method, argument }: Call) => {
  void answered(() => {
    switch (method) {
      case "authorize":
        return evaluator.authorize(argument as HTTPRequest);
      case "compile":
        return compile(argument as Document, options);
      case "evaluate":
        return evaluator.evaluate(argument as Request);
      case "evaluateJSON":
        return evaluator.evaluateJSON(argument as string | Uint8Array);
      case "evaluateMany":
        return evaluator.evaluateMany(argument as Request[]);
      case "explain":
        return evaluator.explain(argument as Request);
    }
  });
});
