// What goes in and comes out: documents as the cloud spells them, requests and
// answers in the spelling of this language.

import { IMAGE_MAGIC } from "./abi.js";
import { errorOf } from "./errors.js";
import type { Effect, FindingCode, Level, Network, Reason, StepName, Verdict } from "./abi.js";

/** A call to be judged. An empty string is an absent field. */
export interface Request {
  readonly accessKeyId: string;
  /** An IPv4 or IPv6 address, without port, brackets or zone. */
  readonly sourceIp: string;
  /** Of the VPC that the call comes from; a call without one is public. */
  readonly vpcId?: string | undefined;
  /** The account that an unlisted key belongs to. */
  readonly accountId?: string | undefined;
  readonly service?: string | undefined;
  readonly action?: string | undefined;
  readonly protocol?: string | undefined;
}

/** An HTTP request, of which the evaluator finds the AccessKey that it claims. */
export interface HTTPRequest {
  /** Path and query, as in the request line. */
  readonly target: string;
  /**
   * Name and value of each header line, repeated ones repeated. A `Headers`
   * will do: lines that it has joined by a comma are read as such.
   */
  readonly headers?: Iterable<readonly [name: string, value: string]> | undefined;
  readonly sourceIp: string;
  readonly vpcId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly service?: string | undefined;
  readonly action?: string | undefined;
  readonly protocol?: string | undefined;
  /** Makes a request without a key id a denial. */
  readonly denyMissingAccessKey?: boolean | undefined;
  /**
   * Makes a request whose body is a form, by its Content-Type, an error: a field
   * of it may claim a key id, and the body is not read.
   */
  readonly denyFormBody?: boolean | undefined;
}

/** The answer to a request. Let the call pass if the effect is "Allow". */
export interface Decision {
  readonly effect: Effect;
  readonly reason: Reason;
  readonly level: Level;
  readonly network: Network;
  /** Index of the statement that matched, in the policy of that level. */
  readonly statement?: number;
  /** The entry that matched, as a block: "203.0.113.1/32". */
  readonly entry?: string;
  /** Of a denial: the error code that the cloud gives to the caller. */
  readonly code?: string;
}

/** A decision with every step that led to it. */
export interface Trace {
  readonly request: Request;
  readonly decision: Decision;
  readonly revision: string;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly step: StepName;
  /** For people; it may change between releases. */
  readonly answer: string;
  /** On the step that decided. */
  readonly reason?: Reason;
  readonly account?: string;
  readonly level?: Level;
  readonly statements?: readonly StatementVerdict[];
}

export interface StatementVerdict {
  readonly statement: number;
  readonly type: StatementType;
  readonly value?: string;
  readonly verdict: Verdict;
  readonly entry?: string;
}

/** What is wrong with a document, and what is doubtful. */
export interface Report {
  readonly valid: boolean;
  readonly errors: readonly Finding[];
  readonly warnings: readonly Finding[];
}

export interface Finding {
  readonly code: FindingCode;
  /** JSON pointer to the place in the document. */
  readonly pointer: string;
  readonly message: string;
}

/**
 * What is loaded: the policies of accounts and of their keys. The types of
 * documents take what TypeScript makes of a JSON file or of an object in a
 * variable, where "Active" is any string and 1 any number: the guest looks at
 * the values, and at everything else.
 */
export interface PolicySet {
  readonly Version?: number | undefined; // 1
  readonly Accounts: readonly Account[];
  readonly ExemptServices?: readonly ExemptService[] | undefined;
}

export interface Account {
  readonly AccountId: string;
  readonly AccessKeyPolicy?: AccessKeyPolicy | undefined;
  readonly AccessKeys?: readonly AccessKey[] | undefined;
}

export interface AccessKey {
  readonly AccessKeyId: string;
  readonly UserPrincipalName?: string | undefined;
  readonly AccessKeyPolicy?: AccessKeyPolicy | undefined;
}

/** The document that the cloud's API takes. */
export interface AccessKeyPolicy {
  readonly Version?: number | undefined; // 1
  readonly Status: "Active" | "Inactive" | (string & {});
  readonly Statements: readonly Statement[];
}

export interface Statement {
  readonly Type: StatementType | (string & {});
  readonly Value?: string | undefined;
  readonly IPList: string | readonly string[];
}

export type StatementType = "ClassicWhiteList" | "VPCWhiteList";

export interface ExemptService {
  readonly Service: string;
  readonly Action?: string | undefined;
  readonly Protocol?: string | undefined;
}

/**
 * A policy set or an access key policy: as an object, or as JSON in a string or
 * in bytes. Where it is loaded, bytes may be an image.
 */
export type Document = PolicySet | AccessKeyPolicy | string | Uint8Array | ArrayBuffer;

/** The bytes of a document. */
export function bytesOf(document: Document): Uint8Array {
  if (ArrayBuffer.isView(document)) {
    return new Uint8Array(document.buffer, document.byteOffset, document.byteLength);
  }
  if (document instanceof ArrayBuffer) return new Uint8Array(document);
  return new TextEncoder().encode(
    typeof document === "string" ? document : JSON.stringify(document),
  );
}

export function isImage(bytes: Uint8Array): boolean {
  return IMAGE_MAGIC.every((byte, i) => bytes[i] === byte);
}

/** The bytes of an image; throws if they are anything else. */
export function imageOf(image: Uint8Array | ArrayBuffer): Uint8Array {
  const bytes = bytesOf(image);
  if (isImage(bytes)) return bytes;
  throw errorOf("InvalidImage", "this is no image, as compile makes them; for JSON use fromJSON");
}

/** Spells the names of an answer in JSON as this language does. */
export function camelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCase);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name.charAt(0).toLowerCase() + name.slice(1),
      camelCase(member),
    ]),
  );
}
