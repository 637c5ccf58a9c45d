// What worker.ts and its threads tell each other. Errors do not keep their
// class on the way, so they are taken apart and put together again.

import type { StatusCode } from "./abi.js";
import type { Decision, Report } from "./documents.js";
import {
  BatchError,
  errorOf,
  GuestError,
  InvalidDocumentError,
  KeymoatError,
  TrapError,
} from "./errors.js";
import type { Evaluator } from "./evaluator.js";

/** What a thread starts with. Its first answer is the revision. */
export interface Start {
  readonly module: WebAssembly.Module;
  readonly memoryLimit: number;
  readonly image: Uint8Array | undefined;
}

/** A call of a method of the evaluator, or of compile. */
export interface Call {
  readonly method:
    | keyof Pick<Evaluator, "authorize" | "evaluate" | "evaluateJSON" | "evaluateMany" | "explain">
    | "compile";
  readonly argument: unknown;
}

export type Answer = { readonly result: unknown } | { readonly error: PlainError };

export interface PlainError {
  readonly name: string;
  readonly code: StatusCode;
  readonly message: string;
  readonly report?: Report;
  readonly decisions?: readonly (Decision | undefined)[];
  readonly errors?: ReadonlyMap<number, PlainError>;
}

export function plainError(error: unknown): PlainError {
  if (!(error instanceof KeymoatError)) {
    if (error instanceof TypeError)
      return { name: "TypeError", code: "Internal", message: error.message };
    return { name: "TrapError", code: "Internal", message: String(error) };
  }
  const { name, code, message } = error;
  if (error instanceof InvalidDocumentError) return { name, code, message, report: error.report };
  if (error instanceof BatchError) {
    const errors = new Map([...error.errors].map(([index, each]) => [index, plainError(each)]));
    return { name, code, message, decisions: error.decisions, errors };
  }
  return { name, code, message };
}

export function errorFrom(plain: PlainError): Error {
  return plain.name === "TypeError" ? new TypeError(plain.message) : keymoatErrorFrom(plain);
}

function keymoatErrorFrom(plain: PlainError): KeymoatError {
  const { name, code, message, report, decisions, errors } = plain;
  if (report !== undefined) return new InvalidDocumentError(message, report);
  if (decisions !== undefined && errors !== undefined) {
    const each = [...errors].map(([index, error]) => [index, keymoatErrorFrom(error)] as const);
    return new BatchError(decisions, new Map(each));
  }
  if (name === "TrapError") return new TrapError(message);
  if (name === "GuestError") return new GuestError(message);
  return errorOf(code, message);
}
