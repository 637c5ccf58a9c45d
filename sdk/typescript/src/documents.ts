// What goes in and comes out: documents as the cloud spells them, requests and
// answers in the spelling of this language.

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

/** What is loaded: the policies of accounts and of their keys. */
export interface PolicySet {
  Version?: 1;
  Accounts: Account[];
  ExemptServices?: ExemptService[];
}

export interface Account {
  AccountId: string;
  AccessKeyPolicy?: AccessKeyPolicy;
  AccessKeys?: AccessKey[];
}

export interface AccessKey {
  AccessKeyId: string;
  UserPrincipalName?: string;
  AccessKeyPolicy?: AccessKeyPolicy;
}

/** The document that the cloud's API takes. */
export interface AccessKeyPolicy {
  Version?: 1;
  Status: "Active" | "Inactive";
  Statements: Statement[];
}

export interface Statement {
  Type: StatementType;
  Value?: string;
  IPList: string | string[];
}

export type StatementType = "ClassicWhiteList" | "VPCWhiteList";

export interface ExemptService {
  Service: string;
  Action?: string;
  Protocol?: string;
}

/**
 * A policy set or an access key policy: as an object, or as JSON in a string or
 * in bytes. Where it is loaded, bytes may be an image.
 */
export type Document = PolicySet | AccessKeyPolicy | string | Uint8Array;

/** The bytes of a document. */
export function bytesOf(document: Document): Uint8Array {
  if (document instanceof Uint8Array) return document;
  return new TextEncoder().encode(
    typeof document === "string" ? document : JSON.stringify(document),
  );
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

/** The first byte behind white space; undefined if there is none. */
export function firstByte(json: Uint8Array): number | undefined {
  return json.find((c) => c !== 0x20 && c !== 0x09 && c !== 0x0a && c !== 0x0d);
}
