// The package as it is installed: what is in it, and that its examples run.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { test } from "node:test";
import { installed, policySet, repository } from "./fixtures.js";

const here = new URL("../", import.meta.url); // where keymoat is found by its name

async function run(file: URL): Promise<string> {
  const program = fileURLToPath(file);
  return (await promisify(execFile)(process.execPath, ["--no-warnings", program])).stdout;
}

test("the first example of the README prints what it says", async () => {
  const readme = readFileSync(new URL("README.md", installed), "utf8");
  const [, example, output] = /```js\n(.*?)```\n\n```text\n(.*?)```/s.exec(readme) ?? [];
  const file = new URL("readme.mjs", here);
  writeFileSync(file, example!);
  assert.equal(await run(file), output);
});

test("the example in examples/typescript prints what it says", async () => {
  const folder = new URL("examples/typescript/", repository);
  const file = new URL("server.mjs", here);
  copyFileSync(new URL("server.mjs", folder), file);
  assert.equal(await run(file), readFileSync(new URL("server.txt", folder), "utf8"));
});

test("the guest is the one that the other hosts embed", () => {
  const embedded = gunzipSync(readFileSync(new URL("host/keymoat.wasm.gz", repository)));
  assert(embedded.equals(readFileSync(new URL("keymoat.wasm", installed))));
});

test("everything that the manifest names is there, with types, and no sources", () => {
  const manifest = JSON.parse(readFileSync(new URL("package.json", installed), "utf8")) as {
    exports: Record<string, string | Record<string, string>>;
    imports: Record<string, Record<string, string>>;
    dependencies: Record<string, string>;
  };
  const targets = [...Object.values(manifest.exports), ...Object.values(manifest.imports)];
  for (const path of targets.flatMap((target) =>
    typeof target === "string" ? [target] : Object.values(target),
  )) {
    assert(existsSync(new URL(path, installed)), path);
    if (path.endsWith(".js"))
      assert(existsSync(new URL(path.replace(/js$/, "d.ts"), installed)), path);
  }
  assert.deepEqual(Object.keys(manifest.dependencies), ["@bjorn3/browser_wasi_shim"]);
  assert.deepEqual(readdirSync(installed).sort(), [
    "LICENSE",
    "README.md",
    "dist",
    "keymoat.wasm",
    "package.json",
  ]);
});

/** A program that uses the types of the package as one does without thinking of them. */
const consumer = `
import { compile, Evaluator, validate, type Decision, type PolicySet } from "keymoat";
import { guard as express } from "keymoat/express";
import { guard as fetching } from "keymoat/fetch";
import { WorkerEvaluator } from "keymoat/worker";
import rules from "./rules.json" with { type: "json" };

const inVariable = {
  Accounts: [
    { AccountId: "1000000000000001" },
    { AccountId: "1000000000000002", AccessKeyPolicy: { Status: "Active", Statements: [] } },
  ],
};
const constant = {
  Version: 1,
  Status: "Active",
  Statements: [{ Type: "ClassicWhiteList", IPList: ["203.0.113.0/24"] }],
} as const;
const typed: PolicySet = { Accounts: [], ExemptServices: [{ Service: "EventBridge" }] };

for (const document of [rules, inVariable, constant, typed, new ArrayBuffer(0)]) {
  const evaluator = await Evaluator.fromJSON(document, { guest: new Uint8Array() });
  const requests = new Set([{ accessKeyId: "LTAI5tExample0000000001", sourceIp: "203.0.113.7" }]);
  const decisions: Decision[] = evaluator.evaluateMany(requests);
  express(evaluator, { onRefusal: async () => Promise.resolve(decisions) });
}
await validate(rules);
const threads = await WorkerEvaluator.fromImage(await compile(inVariable), { threads: 2 });
fetching(threads, () => new Response(""), { clientAddress: () => "203.0.113.7" });
// @ts-expect-error: a document has no such status
await Evaluator.fromJSON({ Status: 1, Statements: [] });
`;

for (const [name, options] of [
  ["nodenext", ["--module", "nodenext", "--lib", "ES2022"]],
  ["bundler", ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "ES2022"]],
  [
    "bundler, in a browser",
    ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "ES2022,DOM"],
  ],
] as const) {
  test(`a program in TypeScript finds the types, and they take what it has: ${name}`, async () => {
    const folder = new URL("consumer/", here);
    mkdirSync(folder, { recursive: true });
    writeFileSync(new URL("rules.json", folder), JSON.stringify({ Version: 1, ...policySet }));
    const program = fileURLToPath(new URL("consumer.mts", folder));
    writeFileSync(program, consumer);
    const compiler = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", here));
    const strict = ["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false"];
    const more = ["--noEmit", "--target", "ES2022", "--resolveJsonModule", "--types", "node"];
    const args = [compiler, ...strict, ...more, ...options, program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder }).catch(
      (error: unknown) => error as { stdout: string },
    );
    assert.equal(stdout, "");
  });
}

test("what a browser loads imports nothing of Node", () => {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const code = readFileSync(new URL(`dist/${path}`, installed), "utf8");
    for (const [, from] of code.matchAll(
      /^(?:import|export) .*?from "(.*?)"|^\} from "(.*?)"/gms,
    )) {
      if (from === "#platform") visit("platform.browser.js");
      else if (from?.startsWith("./") === true) visit(from.slice(2));
      else
        assert(
          from === undefined || from === "@bjorn3/browser_wasi_shim",
          `${path}: ${from ?? ""}`,
        );
    }
  };
  visit("index.js");
  visit("fetch.js");
  assert(seen.has("guest.js") && seen.has("platform.browser.js") && !seen.has("platform.node.js"));
});
