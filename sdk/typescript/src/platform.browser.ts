// What differs between Node and browsers: this is that of browsers, and of
// whatever else has WebAssembly and fetch.

import { WASI } from "@bjorn3/browser_wasi_shim";

export async function read(location: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(location);
  if (!response.ok) throw new TypeError(`${response.url}: status ${String(response.status)}`);
  return new Uint8Array(await response.arrayBuffer());
}

export async function compileGuest(): Promise<WebAssembly.Module> {
  // Not compileStreaming: that wants a server that knows the type of the file.
  const bytes = await read(new URL("../keymoat.wasm", import.meta.url));
  return WebAssembly.compile(bytes);
}

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
