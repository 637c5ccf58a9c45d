// What differs between Node and browsers: this is Node's.

import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

export async function read(location: string | URL): Promise<Uint8Array> {
  return readFile(location);
}

export async function compileGuest(): Promise<WebAssembly.Module> {
  return WebAssembly.compile(await readFile(new URL("../keymoat.wasm", import.meta.url)));
}

/** The functions for one guest, which is given nothing, and how it is started. */
export function wasi(): {
  imports: WebAssembly.ModuleImports;
  initialize: (guest: WebAssembly.Instance) => void;
} {
  // With returnOnExit a guest that ends does not end the process: proc_exit throws.
  const system = new WASI({ version: "preview1", returnOnExit: true });
  // The guest gets functions of ours around node:wasi's. Once V8 has optimised the
  // guest it would call node:wasi's native functions without JavaScript between
  // (fast API calls), and a guest that traps in one of these ended the process of
  // Node 20.20 with SIGSEGV: 6 runs of 20, none of 20 with a function between.
  const imports: WebAssembly.ModuleImports = {};
  for (const [name, native] of Object.entries(system.wasiImport as WebAssembly.ModuleImports)) {
    const call = native as (...args: unknown[]) => unknown;
    imports[name] = (...args: unknown[]) => call(...args);
  }
  return {
    imports,
    initialize: (guest) => {
      system.initialize(guest);
    },
  };
}
