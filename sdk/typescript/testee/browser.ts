// Starts the Chromium that the testee and the tests of browsers use.

import { chromium, type Browser } from "playwright-core";

/** Starts a browser, without a window and without calls home, from its executable. */
export function startBrowser(executablePath: string): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
