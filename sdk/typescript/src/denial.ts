// What a refused caller is told: the JSON form of plugin/denial, byte for byte.

import { DENIAL_CODE, type Reason } from "./abi.js";
import type { KeymoatError } from "./errors.js";

/** Why a request could not be judged at all; it stands in place of a decision. */
export type Problem = "InvalidAccessKeyId" | "InvalidSourceIp" | "NotLoaded" | "Internal";

/**
 * What is known of a refused request. Texts are what a caller sent, one
 * character a byte, as headers are; an empty one is left out.
 */
export interface Denial {
  readonly problem?: Problem | undefined;
  readonly reason?: Reason | undefined; // of the decision, if there is no problem
  readonly sourceIp: string;
  readonly vpcId: string;
  readonly requestId: string;
}

/** The problem that an error of the evaluator stands for. */
export function problemOf(code: KeymoatError["code"] | undefined): Problem {
  return code === "InvalidAccessKeyId" || code === "InvalidSourceIp" || code === "NotLoaded"
    ? code
    : "Internal";
}

/** Whether a problem lies with those who run the service, and not with the request. */
export function isFault(problem: Problem): boolean {
  return problem === "NotLoaded" || problem === "Internal";
}

/** The body of the answer. */
export function denialJSON(denial: Denial): string {
  const field = (name: string, value: string): string =>
    value === "" ? "" : `,"${name}":"${escaped(value)}"`;
  return (
    `{"Code":"${denial.problem ?? DENIAL_CODE}","Message":"${messageOf(denial)}"` +
    field("SourceIp", denial.sourceIp) +
    field("VpcId", denial.vpcId) +
    field("RequestId", denial.requestId) +
    "}\n"
  );
}

function messageOf({ problem, reason, sourceIp, vpcId }: Denial): string {
  const what = whatOf(problem, reason);
  if (sourceIp === "") return what;
  if (problem === "InvalidSourceIp") return `${what} It was given as ${escaped(sourceIp)}.`;
  const within = vpcId !== "" && problem === undefined ? ` in ${escaped(vpcId)}` : "";
  return `${what} The source address is ${escaped(sourceIp)}${within}.`;
}

function whatOf(problem: Problem | undefined, reason: Reason | undefined): string {
  switch (problem) {
    case undefined:
      break;
    case "InvalidAccessKeyId":
      return "The access key of the request cannot be read.";
    case "InvalidSourceIp":
      return "The source address of the request cannot be read.";
    default:
      return "The request could not be judged.";
  }
  switch (reason) {
    case "NoAccessKey":
      return "The request names no access key.";
    case "AmbiguousAccessKey":
      return "The request names two different access keys.";
    default:
      return "Specified access key denied due to access policy.";
  }
}

const LONGEST = 255; // bytes of a value, so that no caller makes answers long
const REPLACEMENT = "\ufffd";

/** A value of whatever bytes; what is no text or cannot be seen becomes U+FFFD. */
function escaped(value: string): string {
  const bytes = cut(bytesOfHeader(value));
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let i = 0; i < bytes.length;) {
    const first = bytes[i]!;
    const size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    try {
      const c = decoder.decode(bytes.subarray(i, i + size));
      text += isUnseen(c) ? REPLACEMENT : c === '"' || c === "\\" ? `\\${c}` : c;
      i += size;
    } catch {
      text += REPLACEMENT;
      i++;
    }
  }
  return text;
}

function isUnseen(c: string): boolean {
  const code = c.codePointAt(0)!;
  return (
    code < 0x20 ||
    (code >= 0x7f && code < 0xa0) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0xfffe ||
    code === 0xffff
  );
}

function bytesOfHeader(value: string): Uint8Array {
  const units = Array.from({ length: value.length }, (_, i) => value.charCodeAt(i));
  return units.every((unit) => unit <= 0xff)
    ? Uint8Array.from(units)
    : new TextEncoder().encode(value);
}

/** Shortens a long value, not within a character. */
function cut(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= LONGEST) return bytes;
  let n = LONGEST;
  while (n > LONGEST - 4 && (bytes[n]! & 0xc0) === 0x80) n--;
  return bytes.subarray(0, n);
}
