// The conformance testee in a real Chromium: starts one, whose executable its
// argument names, serves it the package on loopback, and relays lines to the page.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { startBrowser } from "./browser.js";

const root = new URL("../", import.meta.url); // where the package is installed
const browser = process.argv[2]!; // its executable

const page = `<!doctype html><title>keymoat</title><link rel="icon" href="data:,">
<script type="importmap">{"imports": {
  "keymoat": "/node_modules/keymoat/dist/index.js",
  "#platform": "/node_modules/keymoat/dist/platform.browser.js",
  "@bjorn3/browser_wasi_shim": "/node_modules/@bjorn3/browser_wasi_shim/dist/index.js"}}</script>
<script type="module" src="/testee/page.js"></script>`;

const types: Record<string, string> = { js: "text/javascript", wasm: "application/wasm" };

const server = createServer((request, response) => {
  const path = request.url ?? "/";
  if (path === "/") {
    response.setHeader("Content-Type", "text/html").end(page);
    return;
  }
  // Only what the page names is asked for.
  readFile(new URL(`.${path}`, root)).then(
    (content) => {
      const type = types[path.slice(path.lastIndexOf(".") + 1)];
      if (type !== undefined) response.setHeader("Content-Type", type);
      response.end(content);
    },
    () => response.writeHead(404).end(),
  );
});
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));

const chrome = await startBrowser(browser);
try {
  const tab = await chrome.newPage();
  tab.on("console", (message) => process.stderr.write(`page: ${message.text()}\n`));
  tab.on("pageerror", (error) => process.stderr.write(`page: ${String(error)}\n`));
  await tab.goto(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`);
  await tab.waitForFunction(() => globalThis.answerLine !== undefined);
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim() === "") continue;
    process.stdout.write(`${await tab.evaluate((text) => answerLine(text), line)}\n`);
  }
} finally {
  await chrome.close();
  server.close();
}
