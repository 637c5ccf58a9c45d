// What differs between Node and browsers: this is that of browsers, and of
// whatever else has WebAssembly and fetch.

import { WASI } from "@bjorn3/browser_wasi_shim";
import { GuestError } from "./errors.js";

export async function read(location: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(location);
  if (!response.ok) throw new TypeError(`${response.url}: status ${String(response.status)}`);
  return new Uint8Array(await response.arrayBuffer());
}

export async function compileGuest(): Promise<WebAssembly.Module> {
  const url = new URL("../keymoat.wasm", import.meta.url); // as bundlers look for it
  const remedy =
    "if a bundler has moved this package without that file, keep it from doing so " +
    '(Vite: optimizeDeps: { exclude: ["keymoat"] }), or pass the module as the option guest';
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await read(url);
  } catch (cause) {
    throw new GuestError(`${url.href} cannot be read; ${remedy}`, { cause });
  }
  // Many servers answer with a page where they have no file.
  if (!MAGIC.every((c, i) => bytes[i] === c)) {
    throw new GuestError(`what is at ${url.href} is not WebAssembly; ${remedy}`);
  }
  // Not compileStreaming: that wants a server that knows the type of the file.
  return WebAssembly.compile(bytes);
}

const MAGIC = [0x00, 0x61, 0x73, 0x6d]; // what a module begins with

/** The functions for one guest, which is given nothing, and how it is started. */
export function wasi(): {
  imports: WebAssembly.ModuleImports;
  initialize: (guest: WebAssembly.Instance) => void;
} {
  const system = new WASI([], [], [], { debug: false });
  return {
    imports: system.wasiImport,
    initialize: (guest) => {
      system.initialize(guest as { exports: { memory: WebAssembly.Memory } });
    },
  };
}
