// The conformance testee on Node.

import { createInterface } from "node:readline";
import { Evaluator } from "keymoat";
import { answer } from "./answer.js";

const evaluator = await Evaluator.create();
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() !== "") process.stdout.write(`${await answer(evaluator, line)}\n`);
}
