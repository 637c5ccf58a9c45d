// Puts the Extism plug-in, run by Node, at the other end of the conformance
// protocol:
//
//   node testee.mjs keymoat-extism.wasm
//
// The runner starts it. A trap ends it: the runner then starts another.

import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import createPlugin from '@extism/extism';

const functions = {
  Load: 'load',
  Validate: 'validate',
  Evaluate: 'evaluate',
  Explain: 'explain',
  Authorize: 'authorize',
};

// The plug-in answers with the protocol's own JSON, and so do its errors.
async function answer(plugin, line) {
  const [[verb, value]] = Object.entries(JSON.parse(line));
  const bytes = verb.endsWith('Raw') ? Buffer.from(value, 'base64') : Buffer.from(JSON.stringify(value));
  // A copy: of a Buffer the SDK would take the whole memory that it is a part of.
  const document = new Uint8Array(bytes);
  try {
    const output = await plugin.call(functions[verb.replace(/Raw$/, '')], document);
    return output.text();
  } catch (error) {
    const text = String(error?.message);
    const start = text.indexOf('{"Error":');
    if (start < 0) {
      throw error;
    }
    return text.slice(start);
  } finally {
    await plugin.reset(); // or the SDK keeps each call's input and output
  }
}

const module = await readFile(process.argv[2]);
const plugin = await createPlugin({ wasm: [{ data: new Uint8Array(module) }] }, { useWasi: true });
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${(await answer(plugin, line)).trim()}\n`);
}
