// Names and numbers that the guest and this package share.
// Written by "make generate" from the Go package abi. Do not edit.

/** The release that this package belongs to. */
export const RELEASE = "0.1.0";
export const ABI_MAJOR = 1;
export const ABI_MINOR = 0;

/** The error code that a refused caller sees, the cloud's own. */
export const DENIAL_CODE = "InvalidAccessKeyId.AccessPolicyDenied";

/** Limits, in bytes. */
export const MAX_ACCESS_KEY_ID = 128;
export const MAX_FIELD = 255;
export const MAX_HTTP_REQUEST_SIZE = 16777216;
/** What every image begins with, and no JSON. */
export const IMAGE_MAGIC: readonly number[] = [75, 69, 89, 77, 79, 65, 84, 0];

/** Layout of the binary requests; see abi/README.md. */
export const HEADER_SIZE = 24;
export const MAX_REQUEST_SIZE = 1682;
export const REQUEST_BUFFER_SIZE = 2048;
export const SOURCE_NONE = 0;
export const SOURCE_TEXT = 1;
export const SOURCE_IPV4 = 4;
export const HTTP_FLAG_DENY_MISSING = 1;
export const HTTP_FLAG_DENY_FORM_BODY = 2;

/** The patterns of a whole id: of an AccessKey or an account, and of a VPC. */
export const ID = /^[0-9A-Za-z._=-]{1,128}$/;
export const VPC_ID = /^vpc-[0-9a-z]{1,64}$/;

/** The functions of the guest. */
export const EXPORTS = [
  "_initialize",
  "keymoat_abi_version",
  "keymoat_alloc",
  "keymoat_authorize",
  "keymoat_compile",
  "keymoat_evaluate",
  "keymoat_evaluate_batch",
  "keymoat_evaluate_json",
  "keymoat_explain",
  "keymoat_free",
  "keymoat_info",
  "keymoat_load",
  "keymoat_request_buffer",
  "keymoat_result",
  "keymoat_revision",
  "keymoat_validate",
] as const;

/** The outcomes of a call into the guest, by their number. */
export const STATUS_CODES = [
  "OK", // 0
  "NotLoaded", // 1
  "InvalidRequest", // 2
  "InvalidAccessKeyId", // 3
  "InvalidSourceIp", // 4
  "InvalidDocument", // 5
  "InvalidImage", // 6
  "InvalidArgument", // 7
  "TooLarge", // 8
  "Internal", // 9
] as const;
export type StatusCode = (typeof STATUS_CODES)[number];

/** What each status means. */
export const STATUS_TEXTS: Readonly<Record<StatusCode, string>> = {
  OK: "no error",
  NotLoaded: "no policy set is loaded",
  InvalidRequest: "the request is malformed",
  InvalidAccessKeyId: "the request has no readable AccessKeyId",
  InvalidSourceIp: "the request has no readable SourceIp",
  InvalidDocument: "the policy set is not valid",
  InvalidImage: "the policy image is damaged or of another version",
  InvalidArgument: "a pointer or length lies outside the guest's buffers",
  TooLarge: "the input is too large",
  Internal: "internal fault in the evaluator",
};

/** What is to be done with the call. By its number in a decision word. */
export const EFFECT_NAMES = [
  "Deny", // 0
  "Allow", // 1
] as const;
export type Effect = NonNullable<(typeof EFFECT_NAMES)[number]>;

/** The rule that decided. By its number in a decision word. */
export const REASON_NAMES = [
  undefined, // 0
  "NoAccessKey", // 1
  "AmbiguousAccessKey", // 2
  "TemporaryCredential", // 3
  "ExemptService", // 4
  "AccountMismatch", // 5
  "UnknownAccount", // 6
  "NoActivePolicy", // 7
  "NoVPCPolicy", // 8
  "VPCNotListed", // 9
  "NoPublicPolicy", // 10
  "SourceIPNotListed", // 11
  "Matched", // 12
] as const;
export type Reason = NonNullable<(typeof REASON_NAMES)[number]>;

/** The policy that decided: none, the account's or the key's own. By its number in a decision word. */
export const LEVEL_NAMES = [
  "None", // 0
  "Account", // 1
  "AccessKey", // 2
] as const;
export type Level = NonNullable<(typeof LEVEL_NAMES)[number]>;

/** The class of the call: from a VPC if it carries a VPC id, else public. By its number in a decision word. */
export const NETWORK_NAMES = [
  "Public", // 0
  "VPC", // 1
] as const;
export type Network = NonNullable<(typeof NETWORK_NAMES)[number]>;

/** The rules that findings are about: errors first, then warnings. */
export const FINDING_CODES = [
  "Syntax",
  "WrongType",
  "UnknownField",
  "DuplicateField",
  "MissingField",
  "InvalidVersion",
  "InvalidStatus",
  "InvalidType",
  "TooManyStatements",
  "TooManyPublicStatements",
  "TooManyEntries",
  "EmptyIPList",
  "InvalidEntry",
  "ValueForbidden",
  "ValueRequired",
  "InvalidValue",
  "InvalidAccountId",
  "InvalidAccessKeyId",
  "DuplicateAccount",
  "DuplicateAccessKey",
  "InvalidExemption",
  "TooLarge",
  "HostBits",
  "DuplicateEntry",
  "CoveredEntry",
  "NoStatements",
  "PrivateAddress",
  "NeedlessVPC",
  "TemporaryAccessKey",
  "MoreFindings",
] as const;
export type FindingCode = (typeof FINDING_CODES)[number];

/** The questions of an evaluation, in their order. */
export type StepName = "Credential" | "Service" | "Owner" | "Policy" | "Network" | "Source";

/** What became of a statement. */
export type Verdict = "OtherNetwork" | "OtherVPC" | "Applies" | "NotListed" | "Matched";
