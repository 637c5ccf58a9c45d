// The conformance testee in a browser: chromium.ts loads this into a page and
// calls what it leaves there.

import { Evaluator } from "keymoat";
import { answer } from "./answer.js";

const evaluator = Evaluator.create();

declare global {
  var answerLine: (line: string) => Promise<string>;
}

globalThis.answerLine = async (line) => answer(await evaluator, line);
