// keymoat/worker: an evaluator in threads of their own, for Node. A call into
// WebAssembly cannot be interrupted in the thread that made it; a thread can be
// ended from another.

import { Worker } from "node:worker_threads";
import {
  bytesOf,
  imageOf,
  isImage,
  type Decision,
  type Document,
  type HTTPRequest,
  type Request,
  type Trace,
} from "./documents.js";
import { NotLoadedError, TimeoutError, TrapError } from "./errors.js";
import { limitOf, moduleOf, type Options } from "./evaluator.js";
import { read } from "#platform";
import { errorFrom, type Answer, type Call, type Start } from "./worker-protocol.js";

export interface WorkerOptions extends Options {
  /** How many threads there are, 1 if not given. Each has a copy of the rules. */
  readonly threads?: number | undefined;
  /** Milliseconds that a call may take, 1,000 if not given; Infinity is no limit. */
  readonly timeLimit?: number | undefined;
  /** Milliseconds that rules may take to compile or to load, 60,000 if not given; Infinity is no limit. */
  readonly loadTimeLimit?: number | undefined;
}

/**
 * An Evaluator whose calls have a limit of time. Each goes to a thread that is
 * free, or waits for one. A thread that takes too long is ended, its call fails
 * with a TimeoutError, and a fresh one gets the same rules.
 */
export class WorkerEvaluator {
  readonly #settings: Settings;
  #threads: Threads;
  #loading: Promise<unknown> = Promise.resolve();
  #revision: string | undefined;
  #closed = false;

  private constructor(settings: Settings, threads: Threads) {
    this.#settings = settings;
    this.#threads = threads;
  }

  /** Makes an evaluator without rules: until some are loaded it refuses every call. */
  static async create(options: WorkerOptions = {}): Promise<WorkerEvaluator> {
    const { threads = 1, timeLimit = 1_000, loadTimeLimit = 60_000 } = options;
    if (!Number.isInteger(threads) || threads < 1) {
      throw new RangeError(`threads is ${String(threads)}; it is a whole number above 0`);
    }
    checkTimeLimit("timeLimit", timeLimit);
    checkTimeLimit("loadTimeLimit", loadTimeLimit);
    const memoryLimit = limitOf(options);
    const module = await moduleOf(options);
    const settings: Settings = { module, memoryLimit, threads, timeLimit, loadTimeLimit };
    return new WorkerEvaluator(settings, (await Threads.start(settings, undefined)).threads);
  }

  /** Loads a file that holds a document or an image. */
  static async fromFile(
    location: string | URL,
    options: WorkerOptions = {},
  ): Promise<WorkerEvaluator> {
    return WorkerEvaluator.#loaded(await read(location), options);
  }

  /** Loads a policy set or an access key policy. */
  static async fromJSON(document: Document, options: WorkerOptions = {}): Promise<WorkerEvaluator> {
    return WorkerEvaluator.#loaded(document, options);
  }

  /** Loads what compile made. */
  static async fromImage(
    image: Uint8Array | ArrayBuffer,
    options: WorkerOptions = {},
  ): Promise<WorkerEvaluator> {
    return WorkerEvaluator.#loaded(imageOf(image), options);
  }

  static async #loaded(document: Document, options: WorkerOptions): Promise<WorkerEvaluator> {
    const evaluator = await WorkerEvaluator.create(options);
    try {
      await evaluator.load(document);
    } catch (error) {
      await evaluator.close();
      throw error;
    }
    return evaluator;
  }

  /** The SHA-256 of the compiled rules; undefined without rules. */
  get revision(): string | undefined {
    return this.#revision;
  }

  /**
   * Puts rules in force and returns their revision. Once it has, no call sees
   * the old ones. If it fails, the old ones stay.
   */
  async load(document: Document): Promise<string> {
    const bytes = bytesOf(document);
    const load = this.#loading.then(() => this.#load(bytes));
    this.#loading = load.catch(() => undefined); // the next load does not fail for it
    return load;
  }

  async #load(document: Uint8Array): Promise<string> {
    this.#refuseIfClosed();
    const image = isImage(document)
      ? document.slice()
      : await compileApart(this.#settings, document);
    const { threads, revision } = await Threads.start(this.#settings, image);
    if (this.#closed) {
      await threads.retire();
      this.#refuseIfClosed();
    }
    const old = this.#threads;
    this.#threads = threads;
    this.#revision = revision;
    await old.retire(threads);
    return revision!;
  }

  async evaluate(request: Request): Promise<Decision> {
    return (await this.#call({ method: "evaluate", argument: request })) as Decision;
  }

  /** Judges many calls at once in one thread; see Evaluator.evaluateMany. */
  async evaluateMany(requests: Iterable<Request>): Promise<Decision[]> {
    return (await this.#call({ method: "evaluateMany", argument: [...requests] })) as Decision[];
  }

  async evaluateJSON(request: string | Uint8Array): Promise<Decision> {
    return (await this.#call({ method: "evaluateJSON", argument: request })) as Decision;
  }

  async explain(request: Request): Promise<Trace> {
    return (await this.#call({ method: "explain", argument: request })) as Trace;
  }

  async authorize(request: HTTPRequest): Promise<Decision> {
    const headers = [...(request.headers ?? [])]; // an array can cross to a thread
    return (await this.#call({
      method: "authorize",
      argument: { ...request, headers },
    })) as Decision;
  }

  /** Ends the threads. Calls under way are answered, those that wait are refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#loading;
    await this.#threads.retire();
  }

  async #call(call: Call): Promise<unknown> {
    this.#refuseIfClosed();
    return this.#threads.run(call);
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new NotLoadedError("NotLoaded", "the evaluator is closed");
  }
}

const LONGEST_TIMER = 2 ** 31 - 1; // milliseconds; a longer one would fire at once

function checkTimeLimit(name: string, limit: number): void {
  if (typeof limit === "number" && limit > 0 && (limit <= LONGEST_TIMER || limit === Infinity)) {
    return;
  }
  throw new RangeError(
    `${name} is ${String(limit)}; it is a number of milliseconds above 0, up to ${String(LONGEST_TIMER)}, or Infinity`,
  );
}

interface Settings {
  readonly module: WebAssembly.Module;
  readonly memoryLimit: number;
  readonly threads: number;
  readonly timeLimit: number;
  readonly loadTimeLimit: number;
}

interface Job {
  readonly call: Call;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Threads with the same rules, for as long as these are in force. */
class Threads {
  readonly #settings: Settings;
  readonly #image: Uint8Array | undefined;
  readonly #idle: Thread[] = [];
  readonly #waiting: Job[] = [];
  readonly #working = new Set<Promise<void>>();
  #missing = 0; // threads that are to be started
  #retired = false;

  private constructor(settings: Settings, image: Uint8Array | undefined) {
    this.#settings = settings;
    this.#image = image;
  }

  static async start(
    settings: Settings,
    image: Uint8Array | undefined,
  ): Promise<{ threads: Threads; revision: string | undefined }> {
    const threads = new Threads(settings, image);
    const starts = Array.from({ length: settings.threads }, () => threads.#start());
    const started = await Promise.allSettled(starts);
    for (const start of started) {
      if (start.status === "rejected") {
        await threads.retire();
        throw start.reason;
      }
    }
    return { threads, revision: threads.#idle[0]?.revision };
  }

  async #start(): Promise<void> {
    const thread = await Thread.start(this.#settings, this.#image);
    if (this.#retired) await thread.end();
    else this.#idle.push(thread);
  }

  run(call: Call): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject });
      for (; this.#missing > 0; this.#missing--) this.#track(this.#restart());
      this.#next();
    });
  }

  /** Gives waiting calls to idle threads. */
  #next(): void {
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      this.#track(this.#work(this.#idle.pop()!, this.#waiting.shift()!));
    }
  }

  async #work(thread: Thread, { call, resolve, reject }: Job): Promise<void> {
    try {
      resolve(await thread.call(call, this.#settings.timeLimit));
    } catch (error) {
      reject(error);
    }
    if (thread.ended) {
      if (!this.#retired) await this.#restart();
    } else if (this.#retired) {
      await thread.end();
    } else {
      this.#idle.push(thread);
      this.#next();
    }
  }

  /** Replaces a thread that has ended. If that fails, the next call tries again. */
  async #restart(): Promise<void> {
    try {
      await this.#start();
      this.#next();
    } catch (error) {
      this.#missing++;
      // Whoever waits may wait in vain.
      if (this.#idle.length === 0) for (const job of this.#waiting.splice(0)) job.reject(error);
    }
  }

  #track(work: Promise<void>): void {
    this.#working.add(work);
    void work.finally(() => this.#working.delete(work));
  }

  /** Ends the threads, each after its call. What waits goes to the successor. */
  async retire(successor?: Threads): Promise<void> {
    this.#retired = true;
    for (const job of this.#waiting.splice(0)) {
      if (successor === undefined) {
        job.reject(new NotLoadedError("NotLoaded", "the evaluator is closed"));
      } else {
        successor.run(job.call).then(job.resolve, job.reject);
      }
    }
    await Promise.all([...this.#idle.splice(0).map((thread) => thread.end()), ...this.#working]);
  }
}

/** One thread, which does one thing at a time. */
class Thread {
  readonly #worker: Worker;
  #answered: ((answer: Answer | Error) => void) | undefined;
  ended = false;
  revision: string | undefined;

  private constructor(start: Start) {
    this.#worker = new Worker(new URL("./worker-thread.js", import.meta.url), {
      workerData: start,
    });
    this.#worker.on("message", (answer: Answer) => this.#answered?.(answer));
    this.#worker.on("error", (cause: unknown) => {
      this.ended = true;
      this.#answered?.(new TrapError("a thread ended by an error", { cause }));
    });
    this.#worker.on("exit", () => {
      this.ended = true;
      this.#answered?.(new TrapError("a thread ended by itself"));
    });
  }

  /** Starts a thread that has loaded the image, if there is one. */
  static async start(
    { module, memoryLimit, loadTimeLimit }: Settings,
    image: Uint8Array | undefined,
  ): Promise<Thread> {
    const thread = new Thread({ module, memoryLimit, image });
    try {
      thread.revision = (await thread.#answer("loading", loadTimeLimit)) as string | undefined;
    } catch (error) {
      await thread.end();
      throw error;
    }
    return thread;
  }

  async call(call: Call, limit: number): Promise<unknown> {
    const answer = this.#answer(call.method, limit);
    try {
      this.#worker.postMessage(call);
    } catch (cause) {
      // What cannot cross to a thread is no request.
      this.#answered?.(new TypeError("the argument cannot be passed to a thread", { cause }));
    }
    return answer;
  }

  /** Waits for the next answer; a thread that takes longer is ended. */
  async #answer(what: string, limit: number): Promise<unknown> {
    this.#worker.ref(); // while something is awaited, the process goes on
    let timer: NodeJS.Timeout | undefined;
    try {
      const answer = await new Promise<Answer | Error>((resolve) => {
        this.#answered = resolve;
        if (limit === Infinity) return;
        timer = setTimeout(() => {
          this.ended = true;
          resolve(new TimeoutError(`${what} took longer than ${String(limit)} ms`));
        }, limit);
      });
      if (answer instanceof Error) throw answer;
      if ("error" in answer) throw errorFrom(answer.error);
      return answer.result;
    } finally {
      clearTimeout(timer);
      this.#answered = undefined;
      if (this.ended) await this.end();
      else this.#worker.unref();
    }
  }

  async end(): Promise<void> {
    this.ended = true;
    await this.#worker.terminate();
  }
}

/** Compiles in a thread that ends with it, and its memory with the thread. */
async function compileApart(settings: Settings, document: Uint8Array): Promise<Uint8Array> {
  const thread = await Thread.start(settings, undefined);
  try {
    const call: Call = { method: "compile", argument: document };
    return (await thread.call(call, settings.loadTimeLimit)) as Uint8Array;
  } finally {
    await thread.end();
  }
}
