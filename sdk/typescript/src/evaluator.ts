// The evaluator: rules, and a guest that judges by them.

import {
  bytesOf,
  imageOf,
  isImage,
  type Decision,
  type Document,
  type HTTPRequest,
  type Report,
  type Request,
  type Trace,
} from "./documents.js";
import { GuestError, TrapError } from "./errors.js";
import { checkGuest, Guest } from "./guest.js";
import { compileGuest, read } from "#platform";

export interface Options {
  /**
   * Bytes that the memory of the guest may take, 1 GiB if not given; Infinity is
   * no limit. A policy set that needs more is refused.
   */
  readonly memoryLimit?: number | undefined;
  /** Another build of keymoat.wasm than the one in this package. */
  readonly guest?: Uint8Array | Module | undefined;
}

/**
 * WebAssembly.Module, of which programs that are compiled without the library
 * DOM do not know.
 */
type Module = typeof globalThis extends {
  WebAssembly: { Module: new (...source: never) => infer M };
}
  ? M
  : never;

const MEMORY_LIMIT = 2 ** 30;

/**
 * Decides whether calls made with an AccessKey may come from where they come
 * from. Calls are synchronous and belong to one thread; another thread has an
 * evaluator of its own. Whatever a method throws is a refusal.
 */
export class Evaluator {
  readonly #module: WebAssembly.Module;
  readonly #limit: number;
  #guest: Guest;
  #image: Uint8Array | undefined;
  #revision: string | undefined;

  private constructor(module: WebAssembly.Module, limit: number) {
    this.#module = module;
    this.#limit = limit;
    this.#guest = new Guest(module, limit);
  }

  /** Makes an evaluator without rules: until some are loaded it refuses every call. */
  static async create(options: Options = {}): Promise<Evaluator> {
    const limit = limitOf(options);
    return new Evaluator(await moduleOf(options), limit);
  }

  /** Loads a file that holds a document or an image; in a browser, what a URL gives. */
  static async fromFile(location: string | URL, options: Options = {}): Promise<Evaluator> {
    return loaded(await Evaluator.create(options), await read(location));
  }

  /** Loads a policy set or an access key policy. */
  static async fromJSON(document: Document, options: Options = {}): Promise<Evaluator> {
    return loaded(await Evaluator.create(options), document);
  }

  /** Loads what compile made. */
  static async fromImage(
    image: Uint8Array | ArrayBuffer,
    options: Options = {},
  ): Promise<Evaluator> {
    return loaded(await Evaluator.create(options), imageOf(image));
  }

  /** The SHA-256 of the compiled rules, the same in every host; undefined without rules. */
  get revision(): string | undefined {
    return this.#revision;
  }

  /**
   * Puts rules in force and returns their revision. No later call sees the old
   * ones. If it throws, the old ones stay.
   */
  load(document: Document): string {
    const bytes = bytesOf(document);
    // Compiling leaves its traces in the memory of a guest, so that another one
    // gets the image.
    const image = isImage(bytes)
      ? bytes.slice()
      : new Guest(this.#module, this.#limit).compile(bytes);
    const guest = new Guest(this.#module, this.#limit);
    const revision = guest.load(image);
    this.#guest = guest;
    this.#image = image;
    this.#revision = revision;
    return revision;
  }

  /** Judges a call. */
  evaluate(request: Request): Decision {
    return this.#ready().evaluate(request);
  }

  /**
   * Judges many calls at once, at less cost for each; the decisions come in the
   * order of the requests. If any cannot be judged it throws a BatchError, which
   * names them and holds the decisions on all others.
   */
  evaluateMany(requests: Iterable<Request>): Decision[] {
    return this.#ready().evaluateMany([...requests]);
  }

  /**
   * Judges a call that is given as JSON, in the spelling of
   * abi/schema/request.json, and as strictly as the guest reads it.
   */
  evaluateJSON(request: string | Uint8Array): Decision {
    const bytes = typeof request === "string" ? new TextEncoder().encode(request) : request;
    return this.#ready().evaluateJSON(bytes);
  }

  /** Judges a call and tells each step. */
  explain(request: Request): Trace {
    return this.#ready().explain(request);
  }

  /** Judges an HTTP request by the AccessKey that it claims. */
  authorize(request: HTTPRequest): Decision {
    return this.#ready().authorize(request);
  }

  /** The guest, or a fresh one with the same rules where it has become unusable. */
  #ready(): Guest {
    if (this.#guest.usable) return this.#guest;
    const guest = new Guest(this.#module, this.#limit);
    if (this.#image !== undefined && guest.load(this.#image) !== this.#revision) {
      throw new TrapError("a fresh guest reads the same rules otherwise");
    }
    this.#guest = guest;
    return guest;
  }
}

function loaded(evaluator: Evaluator, document: Document): Evaluator {
  evaluator.load(document);
  return evaluator;
}

/** Says what is wrong with a document, and what is doubtful. */
export async function validate(document: Document, options: Options = {}): Promise<Report> {
  return new Guest(await moduleOf(options), limitOf(options)).validate(bytesOf(document));
}

/** Compiles a document to an image, which loads faster and takes less memory. */
export async function compile(document: Document, options: Options = {}): Promise<Uint8Array> {
  return new Guest(await moduleOf(options), limitOf(options)).compile(bytesOf(document));
}

/** @internal */
export function limitOf({ memoryLimit = MEMORY_LIMIT }: Options): number {
  if (typeof memoryLimit === "number" && memoryLimit > 0) return memoryLimit;
  throw new RangeError(`memoryLimit is ${String(memoryLimit)}; it is a number of bytes above 0`);
}

let own: Promise<WebAssembly.Module> | undefined; // compiled once in a thread

/** @internal */
export async function moduleOf({ guest }: Options): Promise<WebAssembly.Module> {
  if (guest === undefined) {
    own ??= checked(compileGuest());
    // What failed may succeed another time.
    own.catch(() => (own = undefined));
    return own;
  }
  return checked(
    guest instanceof WebAssembly.Module ? guest : WebAssembly.compile(guest as BufferSource),
  );
}

async function checked(
  compiled: WebAssembly.Module | Promise<WebAssembly.Module>,
): Promise<WebAssembly.Module> {
  let module: WebAssembly.Module;
  try {
    module = await compiled;
  } catch (cause) {
    if (cause instanceof GuestError) throw cause;
    throw new GuestError("the guest does not compile", { cause });
  }
  checkGuest(module);
  return module;
}
