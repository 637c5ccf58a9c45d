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
  return {
    imports: system.wasiImport as WebAssembly.ModuleImports,
    initialize: (guest) => {
      system.initialize(guest);
    },
  };
}
