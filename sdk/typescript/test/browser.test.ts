// The package in a browser, as a bundler brings it there.

import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { build, createServer, preview, type InlineConfig } from "vite";
import { startBrowser } from "../testee/browser.js";

const site = new URL("../site/", import.meta.url); // from where keymoat is found by its name

const page = `<!doctype html><script type="module" src="/main.js"></script>`;
const program = `import { Evaluator } from "keymoat";
try {
  const evaluator = await Evaluator.fromJSON({
    Status: "Active",
    Statements: [{ Type: "ClassicWhiteList", IPList: ["203.0.113.0/24"] }],
  });
  const call = { accessKeyId: "LTAI5tExample0000000001", sourceIp: "203.0.113.7" };
  document.title = evaluator.evaluate(call).entry;
} catch (error) {
  document.title = error.name + ": " + error.message;
}`;

const executable = process.env["CHROMIUM"];
const skip = executable === undefined && "CHROMIUM does not name an executable";
let browser: Browser | undefined;

before(async () => {
  if (executable === undefined) return;
  browser = await startBrowser(executable);
  rmSync(site, { recursive: true, force: true });
  mkdirSync(site);
  writeFileSync(new URL("index.html", site), page);
  writeFileSync(new URL("main.js", site), program);
});

after(() => browser?.close());

function settings(folder: string, optimizeDeps: InlineConfig["optimizeDeps"] = {}): InlineConfig {
  return {
    configFile: false,
    root: fileURLToPath(site),
    cacheDir: fileURLToPath(new URL(`${folder}/`, site)),
    logLevel: "error",
    server: { host: "127.0.0.1", port: 0 },
    preview: { host: "127.0.0.1", port: 0 },
    build: { target: "es2022" }, // which the page's own top-level await needs
    optimizeDeps,
  };
}

interface Serving {
  readonly resolvedUrls: { readonly local: readonly string[] } | null;
  close(): Promise<void>;
}

/** What the page says in the end. */
async function said(server: Serving): Promise<string> {
  try {
    const tab = await browser!.newPage();
    await tab.goto(server.resolvedUrls!.local[0]!);
    await tab.waitForFunction(`document.title !== ""`, undefined, { timeout: 120_000 });
    return await tab.title();
  } finally {
    await server.close();
  }
}

test("a site that Vite has built decides", { skip }, async () => {
  await build(settings("built"));
  assert.equal(await said(await preview(settings("built"))), "203.0.113.0/24");
});

test(
  "in Vite's server for development it decides once it is excluded as the README says",
  { skip },
  async () => {
    const server = await createServer(settings("excluded", { exclude: ["keymoat"] }));
    assert.equal(await said(await server.listen()), "203.0.113.0/24");
  },
);

test(
  "where a bundler has lost the guest the error names its URL and what to do",
  { skip },
  async () => {
    const server = await createServer(settings("bundled"));
    assert.match(
      await said(await server.listen()),
      /^GuestError: what is at http:\S+\/keymoat\.wasm is not WebAssembly; .*optimizeDeps.*option guest$/,
    );
  },
);
