// Builds the faulty guest of the tests: node test/testdata/build.js OUTPUT. It is
// the plugin with calls of fault.go in front of every evaluation and in every
// buffer that a host hands over. The plugin itself has nothing of the kind.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const output = resolve(process.argv[2]);
const core = fileURLToPath(new URL("../../../../plugin/core/", import.meta.url));
const edits = [
  ["{ return g.evaluate(length) }", "{ fault(g.request[:length]); return g.evaluate(length) }"],
  ["return b[:length:length], i, true", "return fault(b[:length:length]), i, true"],
];

const folder = mkdtempSync(join(tmpdir(), "keymoat-"));
try {
  let source = readFileSync(join(core, "exports.go"), "utf8");
  for (const [from, to] of edits) {
    if (source.split(from).length !== 2) {
      throw new Error(`plugin/core/exports.go no longer holds ${from} once; this has to follow`);
    }
    source = source.replace(from, to);
  }
  const exports = join(folder, "exports.go");
  const overlay = join(folder, "overlay.json");
  writeFileSync(exports, source);
  const replace = {
    [join(core, "exports.go")]: exports,
    [join(core, "fault.go")]: fileURLToPath(new URL("./fault.go", import.meta.url)),
  };
  writeFileSync(overlay, JSON.stringify({ Replace: replace }));
  const flags = ["-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"];
  execFileSync("go", ["build", "-overlay", overlay, ...flags, "-o", output, "."], {
    cwd: core,
    env: { ...process.env, GOOS: "wasip1", GOARCH: "wasm", GOFLAGS: "" },
    stdio: "inherit",
  });
} finally {
  rmSync(folder, { recursive: true });
}
