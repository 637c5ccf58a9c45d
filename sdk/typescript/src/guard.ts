// Judges HTTP requests for the handlers in fetch.ts and express.ts: from whom a
// request comes, and whether it may go on.

import { ID, MAX_FIELD, VPC_ID } from "./abi.js";
import { Block, formatAddress, parseAddress, parseIPv4, type Groups } from "./address.js";
import { denialJSON, isFault, problemOf, type Problem } from "./denial.js";
import type { Decision, HTTPRequest } from "./documents.js";
import { KeymoatError } from "./errors.js";

/** An evaluator, of this thread or of others. */
export interface Authorizer {
  authorize(request: HTTPRequest): Decision | Promise<Decision>;
}

/** The options have the names of those of the Go middleware, host/httpguard. */
export interface GuardOptions {
  /**
   * Networks of one's own proxies, which append to X-Forwarded-For. From right
   * to left each entry is believed as long as the one that wrote it is among
   * them; the first that is not is the caller. Without it the header is ignored.
   */
  readonly forwardedFor?: readonly string[] | undefined;
  /** The service behind the guard, for exemptions. */
  readonly service?: string | undefined;
  /** The account that unlisted keys belong to. */
  readonly account?: string | undefined;
  /** The VPC that every request comes from; they are public without it. */
  readonly vpc?: string | undefined;
  /** Refuses requests that claim no key id. */
  readonly denyMissingAccessKey?: boolean | undefined;
  /**
   * Refuses requests whose body is a form, by their Content-Type: a field of it
   * may claim a key id, and the body is not read.
   */
  readonly denyFormBody?: boolean | undefined;
  /**
   * Only reports what would be refused and lets it through. A fault of this
   * side refuses all the same.
   */
  readonly reportOnly?: boolean | undefined;
  /** Is told of each refusal. The default is a line of JSON on console.warn. */
  readonly onRefusal?: ((refusal: Refusal) => unknown) | undefined;
}

/** A request that was refused, or would be. */
export interface Refusal {
  readonly sourceIp: string;
  readonly method: string;
  /** Without the query, which may hold signatures. */
  readonly path: string;
  /** True in report-only mode: it went on. */
  readonly passed: boolean;
  /** The denial; undefined if the request could not be judged. */
  readonly decision?: Decision | undefined;
  /** Why the request could not be judged. */
  readonly problem?: Problem | undefined;
  readonly error?: unknown;
}

/** What a handler knows of a request. */
export interface Incoming {
  readonly method: string;
  readonly target: string;
  /** Whose connection this is. */
  readonly peer: string | undefined;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** The answer to a request that is refused. */
export interface Answer {
  readonly status: 403;
  readonly headers: Record<string, string>;
  readonly body: string;
}

export class Guard {
  readonly #authorizer: Authorizer;
  readonly #options: GuardOptions;
  readonly #proxies: readonly Block[];

  constructor(authorizer: Authorizer, options: GuardOptions) {
    check(authorizer, options);
    this.#authorizer = authorizer;
    this.#options = { ...options };
    this.#proxies = (options.forwardedFor ?? []).map((network) => new Block(network));
  }

  /** Returns the answer to a request that is refused, and undefined for one that goes on. */
  async admit(incoming: () => Incoming | Promise<Incoming>): Promise<Answer | undefined> {
    let request: Incoming = { method: "", target: "", peer: undefined, headers: [] };
    let sourceIp = "";
    let decision: Decision | undefined;
    let problem: Problem | undefined;
    let error: unknown;
    try {
      request = await incoming();
      const source = this.#source(request);
      if (typeof source === "string") {
        sourceIp = source;
        problem = "InvalidSourceIp";
      } else {
        sourceIp = formatAddress(source);
        decision = await this.#authorizer.authorize({
          target: request.target,
          headers: request.headers,
          sourceIp,
          vpcId: this.#options.vpc,
          accountId: this.#options.account,
          service: this.#options.service,
          denyMissingAccessKey: this.#options.denyMissingAccessKey,
          denyFormBody: this.#options.denyFormBody,
        });
        if (decision.effect === "Allow") return undefined;
        if (decision.effect !== "Deny") throw new TypeError("the evaluator answered no decision");
      }
    } catch (cause) {
      decision = undefined;
      error = cause;
      problem = problemOf(cause instanceof KeymoatError ? cause.code : undefined);
    }
    const passed =
      this.#options.reportOnly === true && !(problem !== undefined && isFault(problem));
    const [path = ""] = request.target.split("?", 1);
    const { method } = request;
    void this.#report({ sourceIp, method, path, passed, decision, problem, error });
    if (passed) return undefined;
    const body = denialJSON({
      problem,
      reason: decision?.reason,
      sourceIp,
      vpcId: this.#options.vpc ?? "",
      requestId: request.headers.find(([name]) => isName(name, "x-request-id"))?.[1] ?? "",
    });
    return {
      status: 403,
      headers: {
        "Cache-Control": "no-store", // from another network the answer is another
        "Content-Type": "application/json",
        "Content-Length": String(new TextEncoder().encode(body).length),
        "X-Content-Type-Options": "nosniff", // parts of the body are the caller's
      },
      body,
    };
  }

  /** The address of the caller: that, or the text that should have been one. */
  #source({ peer = "", headers }: Incoming): Groups | string {
    const [address = ""] = peer.split("%", 1); // a zone is an interface of this host
    let source = parseAddress(address);
    if (source === undefined) return peer;
    const entries = headers
      .filter(([name]) => isName(name, "x-forwarded-for"))
      .flatMap(([, line]) => line.split(","));
    while (entries.length > 0 && this.#isProxy(source)) {
      const entry = entries.pop()!.replace(/^[ \t]+|[ \t]+$/g, "");
      source = parseNode(entry);
      if (source === undefined) return entry;
    }
    return source;
  }

  #isProxy(address: Groups): boolean {
    return this.#proxies.some((network) => network.contains(address));
  }

  async #report(refusal: Refusal): Promise<void> {
    try {
      await (this.#options.onRefusal ?? warn)(refusal);
    } catch (error) {
      console.error("keymoat: onRefusal failed:", error); // and the refusal stands
    }
  }
}

/** Refuses what is no option when a server starts, and not with each request. */
function check(authorizer: Authorizer, options: GuardOptions): void {
  const wrong = (what: string): TypeError => new TypeError(`the guard cannot be made: ${what}`);
  if (typeof authorizer?.authorize !== "function") {
    throw wrong("its first argument is no evaluator; await Evaluator.fromFile or .fromJSON");
  }
  const { forwardedFor, service, account, vpc, onRefusal } = options;
  const isText = (value: unknown): value is string => typeof value === "string";
  if (forwardedFor !== undefined) {
    if (!Array.isArray(forwardedFor) || forwardedFor.length === 0 || !forwardedFor.every(isText)) {
      throw wrong(
        'forwardedFor is no array of networks, such as ["10.0.0.0/8"]; name at least one',
      );
    }
  }
  if (service !== undefined) {
    const size = isText(service) ? new TextEncoder().encode(service).length : 0;
    if (size === 0 || size > MAX_FIELD || !service.isWellFormed()) {
      throw wrong(`service is no text of 1 to ${String(MAX_FIELD)} bytes`);
    }
  }
  if (account !== undefined && !(isText(account) && ID.test(account))) {
    throw wrong(`account is ${JSON.stringify(account)}, which cannot be the id of an account`);
  }
  if (vpc !== undefined && !(isText(vpc) && VPC_ID.test(vpc))) {
    throw wrong(`vpc is ${JSON.stringify(vpc)}, which is not the id of a VPC`);
  }
  for (const name of ["denyMissingAccessKey", "denyFormBody", "reportOnly"] as const) {
    if (options[name] !== undefined && typeof options[name] !== "boolean") {
      throw wrong(`${name} is neither true nor false`);
    }
  }
  if (onRefusal !== undefined && typeof onRefusal !== "function") {
    throw wrong("onRefusal is not a function");
  }
}

function warn({ error, ...refusal }: Refusal): void {
  const cause =
    error === undefined ? {} : { error: error instanceof Error ? error.message : typeof error };
  console.warn(JSON.stringify({ message: "keymoat: refused", ...refusal, ...cause }));
}

function isName(name: string, lowerCase: string): boolean {
  return name.toLowerCase() === lowerCase;
}

/** Reads an address with or without a port, an IPv6 address with a port in brackets. */
function parseNode(text: string): Groups | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  const [, bracketed, plain, port = "0"] =
    /^(?:\[([^\]]*:[^\]]*)\]|([0-9.]+)(?=:))(?::([0-9]+))?$/.exec(text) ?? [];
  if (Number(port) > 65535) return undefined;
  if (bracketed !== undefined) return parseAddress(bracketed);
  return plain !== undefined && parseIPv4(plain) >= 0 ? parseAddress(plain) : undefined;
}
