// One running guest. Evaluator is its only user, and calls it from one thread.

import {
  ABI_MAJOR,
  ABI_MINOR,
  EXPORTS,
  MAX_HTTP_REQUEST_SIZE,
  MAX_REQUEST_SIZE,
  REQUEST_BUFFER_SIZE,
  type StatusCode,
} from "./abi.js";
import { decisionOf } from "./decision.js";
import {
  camelCase,
  type Decision,
  type HTTPRequest,
  type Report,
  type Request,
  type Trace,
} from "./documents.js";
import {
  BatchError,
  codeOf,
  errorOf,
  GuestError,
  InvalidDocumentError,
  type KeymoatError,
  TrapError,
} from "./errors.js";
import { wasi } from "#platform";
import { codeOfLength, httpRoom, isHTTPRequest, putHTTPRequest, putRequest } from "./request.js";

const WASI_MODULE = "wasi_snapshot_preview1";

type Export = (typeof EXPORTS)[number];
type Functions = Record<Exclude<Export, ReturningWord>, (...parameters: number[]) => number> &
  Record<ReturningWord, (...parameters: number[]) => bigint>;
type ReturningWord = "keymoat_authorize" | "keymoat_evaluate" | "keymoat_result";

/** Refuses a module that is no guest before it runs. */
export function checkGuest(module: WebAssembly.Module): void {
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    if (from !== WASI_MODULE) {
      throw new GuestError(
        `the guest imports ${from}.${name}; only ${WASI_MODULE} may be imported from`,
      );
    }
  }
  const exported = new Map(
    WebAssembly.Module.exports(module).map(({ name, kind }) => [name, kind]),
  );
  if (exported.get("memory") !== "memory")
    throw new GuestError("the guest does not export its memory");
  for (const name of EXPORTS) {
    if (exported.get(name) !== "function")
      throw new GuestError(`the guest does not export ${name}`);
  }
}

/** How much a guest may grow over what its rules take before it is replaced. */
const ALLOWANCE = 32 << 20;

/** How many bytes of requests cross at once. */
const BATCH_BYTES = 256 << 10;

export class Guest {
  /**
   * False after a fault, and when the memory has grown too large: it never
   * shrinks. An unusable guest must not be called again.
   */
  usable = true;

  readonly #functions: Functions;
  readonly #memory: WebAssembly.Memory;
  readonly #lastWords: LastWords;
  readonly #limit: number;
  readonly #requestAt: number;
  #request: Uint8Array; // a view of the request buffer; empty once the memory has grown
  #most: number;
  #scratch = 0; // a buffer in the guest that calls with larger input reuse
  #scratchSize = 0;

  /** Starts a guest whose memory may take this many bytes. */
  constructor(module: WebAssembly.Module, limit: number) {
    this.#limit = limit;
    this.#most = limit;
    const system = wasi();
    this.#lastWords = new LastWords();
    let guest: WebAssembly.Instance;
    try {
      guest = new WebAssembly.Instance(module, {
        [WASI_MODULE]: { ...system.imports, fd_write: this.#lastWords.fdWrite },
      });
      this.#functions = guest.exports as Functions;
      this.#memory = guest.exports["memory"] as WebAssembly.Memory;
      this.#lastWords.memory = this.#memory;
      system.initialize(guest);
    } catch (cause) {
      throw new GuestError(`the guest does not start${this.#lastWords.text}`, { cause });
    }
    const version = this.#call("keymoat_abi_version");
    if (version >>> 16 !== ABI_MAJOR || (version & 0xffff) < ABI_MINOR) {
      const found = `${String(version >>> 16)}.${String(version & 0xffff)}`;
      throw new GuestError(
        `the guest has version ${found}; this host needs ${String(ABI_MAJOR)}.${String(ABI_MINOR)}, or a later minor version of it`,
      );
    }
    this.#requestAt = this.#call("keymoat_request_buffer") >>> 0;
    this.#request = this.#view(this.#requestAt, REQUEST_BUFFER_SIZE);
    this.#settle();
  }

  /** Puts an image or a document in force and returns its revision. */
  load(document: Uint8Array): string {
    this.#passDocument("keymoat_load", document);
    this.#expectOK(this.#call("keymoat_revision"));
    const revision = new TextDecoder().decode(this.#result());
    this.#settle();
    return revision;
  }

  compile(document: Uint8Array): Uint8Array {
    return this.#passDocument("keymoat_compile", document).slice();
  }

  validate(document: Uint8Array): Report {
    return this.#json(this.#passDocument("keymoat_validate", document)) as Report;
  }

  evaluate(request: Request): Decision {
    if (this.#request.length === 0)
      this.#request = this.#view(this.#requestAt, REQUEST_BUFFER_SIZE);
    const length = putRequest(this.#request, 0, request);
    if (length < 0) throw errorOf(codeOfLength(length));
    let word: bigint;
    try {
      word = this.#functions.keymoat_evaluate(length);
    } catch (cause) {
      throw this.#trapped("keymoat_evaluate", cause);
    }
    if (this.#request.length === 0) this.#grown();
    return this.#decision(word, request.sourceIp);
  }

  evaluateMany(requests: readonly Request[]): Decision[] {
    const decisions: (Decision | undefined)[] = [];
    const wrong = new Map<number, KeymoatError>();
    let from = 0;
    do {
      const at = this.#reserve(BATCH_BYTES);
      const buffer = this.#view(at, BATCH_BYTES);
      const crossing: number[] = []; // the indexes of the requests in this crossing
      let used = 0;
      let next = from;
      for (; next < requests.length && used + MAX_REQUEST_SIZE <= BATCH_BYTES; next++) {
        const length = putRequest(buffer, used, requests[next]!);
        if (length < 0) {
          wrong.set(next, errorOf(codeOfLength(length)));
          continue;
        }
        crossing.push(next);
        used += length;
      }
      this.#expectOK(this.#call("keymoat_evaluate_batch", at, used, crossing.length));
      const words = this.#result();
      if (words.length !== 8 * crossing.length) {
        throw this.#broken("the answer to a batch has the wrong size");
      }
      const view = new DataView(words.buffer, words.byteOffset, words.length);
      for (const [n, index] of crossing.entries()) {
        const low = view.getUint32(8 * n, true);
        if ((low & 0xff) !== 0) {
          wrong.set(index, errorOf(codeOf(low & 0xff)));
          continue;
        }
        const source = requests[index]!.sourceIp;
        decisions[index] = this.#known(decisionOf(low, view.getUint32(8 * n + 4, true), source));
      }
      from = next;
    } while (from < requests.length); // an empty batch crosses, too: it needs rules
    if (wrong.size > 0) {
      throw new BatchError(
        Array.from(requests, (_, i) => decisions[i]),
        new Map([...wrong].sort(([a], [b]) => a - b)),
      );
    }
    return decisions as Decision[];
  }

  evaluateJSON(request: Uint8Array): Decision {
    return this.#json(this.#passDocument("keymoat_evaluate_json", request)) as Decision;
  }

  explain(request: Request): Trace {
    // As evaluate refuses what is no request, so does this.
    const length = putRequest(new Uint8Array(MAX_REQUEST_SIZE), 0, request);
    if (length < 0) throw errorOf(codeOfLength(length));
    const document = new TextEncoder().encode(
      JSON.stringify({
        AccessKeyId: request.accessKeyId,
        SourceIp: request.sourceIp,
        VpcId: request.vpcId,
        AccountId: request.accountId,
        Service: request.service,
        Action: request.action,
        Protocol: request.protocol,
      }),
    );
    return this.#json(this.#passDocument("keymoat_explain", document)) as Trace;
  }

  authorize(request: HTTPRequest): Decision {
    const headers = request.headers === undefined ? [] : [...request.headers];
    if (!isHTTPRequest(request, headers)) throw errorOf("InvalidRequest");
    const room = httpRoom(request, headers);
    const at = this.#reserve(room);
    const length = putHTTPRequest(this.#view(at, room), request, headers);
    if (length < 0) {
      const code = codeOfLength(length);
      const limit = `an HTTP request has ${String(MAX_HTTP_REQUEST_SIZE)} bytes at most`;
      throw errorOf(code, code === "TooLarge" ? limit : undefined);
    }
    let word: bigint;
    try {
      word = this.#functions.keymoat_authorize(at, length);
    } catch (cause) {
      throw this.#trapped("keymoat_authorize", cause);
    }
    this.#grown();
    return this.#decision(word, request.sourceIp);
  }

  #decision(word: bigint, source: string): Decision {
    const low = Number(BigInt.asUintN(32, word));
    if ((low & 0xff) !== 0) throw errorOf(codeOf(low & 0xff));
    return this.#known(decisionOf(low, Number(BigInt.asUintN(32, word >> 32n)), source));
  }

  #known(decision: Decision | undefined): Decision {
    if (decision === undefined) throw this.#broken("its answer is no decision");
    return decision;
  }

  /** Calls a function with a document in a buffer of its own; returns a view of the result. */
  #passDocument(name: Exclude<Export, ReturningWord>, document: Uint8Array): Uint8Array {
    if (document.length >= this.#limit) throw this.#tooLarge(document.length);
    const at = this.#allocate(document.length);
    this.#view(at, document.length).set(document);
    let status: number;
    try {
      status = this.#call(name, at, document.length);
    } catch (error) {
      // A Go guest that runs out of memory ends itself.
      throw this.#lastWords.text.includes("out of memory")
        ? this.#tooLarge(document.length)
        : error;
    }
    if (name !== "keymoat_load") this.#expectOK(this.#call("keymoat_free", at));
    if (this.#memory.buffer.byteLength > this.#limit) {
      this.usable = false;
      throw this.#tooLarge(document.length);
    }
    if (!(name === "keymoat_validate" && codeOf(status) === "InvalidDocument")) {
      this.#expectOK(status);
    }
    return this.#result();
  }

  #tooLarge(size: number): KeymoatError {
    return errorOf(
      "TooLarge",
      `${String(size)} bytes are too many for a memory of ${String(this.#limit)} bytes; raise memoryLimit, or load a compiled image, which is smaller`,
    );
  }

  /** Returns the address of the scratch buffer, which then has at least this size. */
  #reserve(size: number): number {
    if (size <= this.#scratchSize) return this.#scratch;
    if (this.#scratch !== 0) {
      this.#expectOK(this.#call("keymoat_free", this.#scratch));
      this.#scratch = this.#scratchSize = 0;
    }
    let want = BATCH_BYTES;
    while (want < size) want *= 2; // so that it seldom grows
    this.#scratch = this.#allocate(want);
    this.#scratchSize = want;
    return this.#scratch;
  }

  #allocate(size: number): number {
    const at = this.#call("keymoat_alloc", size) >>> 0;
    if (at === 0) throw this.#tooLarge(size);
    return at;
  }

  #call(name: Exclude<Export, ReturningWord>, ...parameters: number[]): number {
    let result: number;
    try {
      result = this.#functions[name](...parameters);
    } catch (cause) {
      throw this.#trapped(name, cause);
    }
    this.#grown();
    return result;
  }

  /** A view of the result of the last call; the next one may make it stale. */
  #result(): Uint8Array {
    let result: bigint;
    try {
      result = this.#functions.keymoat_result();
    } catch (cause) {
      throw this.#trapped("keymoat_result", cause);
    }
    return this.#view(
      Number(BigInt.asUintN(32, result >> 32n)),
      Number(BigInt.asUintN(32, result)),
    );
  }

  #view(at: number, size: number): Uint8Array {
    const { buffer } = this.#memory;
    if (at + size > buffer.byteLength) throw this.#broken("it names memory outside its own");
    return new Uint8Array(buffer, at, size);
  }

  #json(result: Uint8Array): unknown {
    try {
      return camelCase(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(result)));
    } catch (cause) {
      throw this.#broken("its answer is not JSON", cause);
    }
  }

  /** Throws the error of a status, with what the result says about it. */
  #expectOK(status: number): void {
    if (status === 0) return;
    const code = codeOf(status);
    const answer = this.#detail(code);
    if (code === "InvalidDocument" && answer?.report !== undefined) {
      throw new InvalidDocumentError(answer.message, answer.report);
    }
    throw errorOf(code, answer?.message);
  }

  #detail(code: StatusCode): { message: string; report?: Report } | undefined {
    if (code === "InvalidArgument" || code === "Internal") return undefined; // no result then
    const { error } = this.#json(this.#result()) as {
      error: { message: string; report?: Report };
    };
    return error;
  }

  #grown(): void {
    if (this.#memory.buffer.byteLength > this.#most) this.usable = false;
  }

  /** Notes what the memory may grow to from here on. */
  #settle(): void {
    this.#most = Math.min(this.#memory.buffer.byteLength + ALLOWANCE, this.#limit);
  }

  #trapped(name: Export, cause: unknown): TrapError {
    this.usable = false;
    return new TrapError(`the guest failed in ${name}${this.#lastWords.text}`, { cause });
  }

  #broken(what: string, cause?: unknown): TrapError {
    this.usable = false;
    return new TrapError(`the guest is broken: ${what}`, { cause });
  }
}

/**
 * Keeps the first line that a guest writes. Nothing but its runtime writes, and
 * only to say why it has to end.
 */
class LastWords {
  memory: WebAssembly.Memory | undefined;
  #line = "";
  #full = false;

  /** What was said, ready to be appended to a sentence. */
  get text(): string {
    return this.#line === "" ? "" : `: ${this.#line}`;
  }

  /** The function of WASI that writes. */
  readonly fdWrite = (_fd: number, vectors: number, count: number, writtenAt: number): number => {
    const most = 200;
    const bytes = this.memory?.buffer ?? new ArrayBuffer(0);
    const view = new DataView(bytes);
    let written = 0;
    for (let i = 0; i < count; i++) {
      const at = view.getUint32(vectors + 8 * i, true);
      const size = view.getUint32(vectors + 8 * i + 4, true);
      written += size;
      for (const c of new Uint8Array(bytes, at, Math.min(size, most))) {
        this.#full ||= c === 0x0a || this.#line.length >= most;
        if (!this.#full) this.#line += String.fromCharCode(c);
      }
    }
    view.setUint32(writtenAt, written, true);
    return 0;
  };
}
