// The errors of this package. Whatever is thrown is a refusal: an evaluator
// that throws has not decided anything.

import type { Decision, Report } from "./documents.js";
import { STATUS_CODES, STATUS_TEXTS, type StatusCode } from "./abi.js";

/** Any error of this package. The code is a status of the ABI. */
export class KeymoatError extends Error {
  readonly code: StatusCode;

  constructor(code: StatusCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** No policy set has been loaded, so nothing can be decided. */
export class NotLoadedError extends KeymoatError {}

/** A request cannot be judged as it is. */
export class InvalidRequestError extends KeymoatError {}

/** The AccessKey id of a request is missing or not readable. */
export class InvalidAccessKeyIdError extends InvalidRequestError {}

/** The source address of a request is missing or not readable. */
export class InvalidSourceIpError extends InvalidRequestError {}

/** A policy set breaks rules; the report says which, and where. */
export class InvalidDocumentError extends KeymoatError {
  readonly report: Report;

  constructor(message: string, report: Report) {
    super("InvalidDocument", message);
    this.report = report;
  }
}

/** An image is damaged, or of another version of its format. */
export class InvalidImageError extends KeymoatError {}

/** The input is larger than the guest can hold, or than a request may be. */
export class TooLargeError extends KeymoatError {}

/**
 * Some requests of a batch could not be judged. The code is that of the first
 * of them.
 */
export class BatchError extends KeymoatError {
  /** The decision on each request, in order; undefined for those in error. */
  readonly decisions: readonly (Decision | undefined)[];
  /** What is wrong with the others, by index, in ascending order; never empty. */
  readonly errors: ReadonlyMap<number, KeymoatError>;

  constructor(
    decisions: readonly (Decision | undefined)[],
    errors: ReadonlyMap<number, KeymoatError>,
  ) {
    const [first] = errors;
    if (first === undefined) throw new RangeError("a BatchError has at least one error");
    const [index, { code, message }] = first;
    const more = errors.size > 1 ? ` (and ${String(errors.size - 1)} more)` : "";
    super(code, `request ${String(index)} of the batch: ${message}${more}`);
    this.decisions = decisions;
    this.errors = errors;
  }
}

/**
 * The guest trapped, ended by itself, or answered what the interface does not
 * know. Its instance is gone; the next call gets a fresh one with the same
 * rules.
 */
export class TrapError extends KeymoatError {
  constructor(what: string, options?: ErrorOptions) {
    super("Internal", what, options);
  }
}

/** A call took longer than it may; its thread was ended. */
export class TimeoutError extends KeymoatError {
  constructor(what: string) {
    super("Internal", what);
  }
}

/** What was given or found as the guest is none. */
export class GuestError extends KeymoatError {
  constructor(problem: string, options?: ErrorOptions) {
    super("Internal", problem, options);
  }
}

/** Returns the code of a status; one without a name is an internal fault. */
export function codeOf(status: number): StatusCode {
  return STATUS_CODES[status] ?? "Internal";
}

/** Makes the error of a code. An invalid document has an error of its own, with a report. */
export function errorOf(code: StatusCode, message = STATUS_TEXTS[code]): KeymoatError {
  switch (code) {
    case "NotLoaded":
      return new NotLoadedError(code, message);
    case "InvalidRequest":
      return new InvalidRequestError(code, message);
    case "InvalidAccessKeyId":
      return new InvalidAccessKeyIdError(code, message);
    case "InvalidSourceIp":
      return new InvalidSourceIpError(code, message);
    case "InvalidImage":
      return new InvalidImageError(code, message);
    case "TooLarge":
      return new TooLargeError(code, message);
    default:
      return new KeymoatError(code, message);
  }
}
