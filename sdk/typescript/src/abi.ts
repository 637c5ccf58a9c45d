// Names and numbers that the guest and this package share.
// Written by "make generate" from the Go package abi. Do not edit.

export const RELEASE = "0.1.0";
export const ABI_MAJOR = 1;
export const ABI_MINOR = 0;

/** The error code that a refused caller sees, the cloud's own. */
export const DENIAL_CODE = "InvalidAccessKeyId.AccessPolicyDenied";

/** Limits, in bytes. */
export const MAX_ACCESS_KEY_ID = 128;
export const MAX_FIELD = 255;

/** Layout of the binary requests; see abi/README.md. */
export const HEADER_SIZE = 24;
export const MAX_REQUEST_SIZE = 1809;
export const REQUEST_BUFFER_SIZE = 2048;
export const SOURCE_NONE = 0;
export const SOURCE_TEXT = 1;
export const HTTP_FLAG_DENY_MISSING = 1;

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

/** The outcomes of a call into the guest: the index is the number. */
export const STATUS_CODES = [
  "OK",
  "NotLoaded",
  "InvalidRequest",
  "InvalidAccessKeyId",
  "InvalidSourceIp",
  "InvalidDocument",
  "InvalidImage",
  "InvalidArgument",
  "TooLarge",
  "Internal",
] as const;
export type StatusCode = (typeof STATUS_CODES)[number];

/** What each status means, by its number. */
export const STATUS_TEXTS: readonly string[] = [
  "no error",
  "no policy set is loaded",
  "the request is malformed",
  "the request has no readable AccessKeyId",
  "the request has no readable SourceIp",
  "the policy set is not valid",
  "the policy image is damaged or of another version",
  "a pointer or length lies outside the guest's buffers",
  "the input is too large",
  "internal fault in the evaluator",
];

/** What is to be done with the call. */
export type Effect =
  | "Deny"
  | "Allow";
/** Effect by its number in a decision word. */
export const EFFECT_NAMES: readonly (Effect | undefined)[] = [
  "Deny",
  "Allow",
];

/** The rule that decided. */
export type Reason =
  | "NoAccessKey"
  | "AmbiguousAccessKey"
  | "TemporaryCredential"
  | "ExemptService"
  | "AccountMismatch"
  | "UnknownAccount"
  | "NoActivePolicy"
  | "NoVPCPolicy"
  | "VPCNotListed"
  | "NoPublicPolicy"
  | "SourceIPNotListed"
  | "Matched";
/** Reason by its number in a decision word. */
export const REASON_NAMES: readonly (Reason | undefined)[] = [
  undefined,
  "NoAccessKey",
  "AmbiguousAccessKey",
  "TemporaryCredential",
  "ExemptService",
  "AccountMismatch",
  "UnknownAccount",
  "NoActivePolicy",
  "NoVPCPolicy",
  "VPCNotListed",
  "NoPublicPolicy",
  "SourceIPNotListed",
  "Matched",
];

/** The policy that decided: none, the account's or the key's own. */
export type Level =
  | "None"
  | "Account"
  | "AccessKey";
/** Level by its number in a decision word. */
export const LEVEL_NAMES: readonly (Level | undefined)[] = [
  "None",
  "Account",
  "AccessKey",
];

/** The class of the call: from a VPC if it carries a VPC id, else public. */
export type Network =
  | "Public"
  | "VPC";
/** Network by its number in a decision word. */
export const NETWORK_NAMES: readonly (Network | undefined)[] = [
  "Public",
  "VPC",
];

/** The rule that a finding is about: errors first, then warnings. */
export type FindingCode =
  | "Syntax"
  | "WrongType"
  | "UnknownField"
  | "DuplicateField"
  | "MissingField"
  | "InvalidVersion"
  | "InvalidStatus"
  | "InvalidType"
  | "TooManyStatements"
  | "TooManyPublicStatements"
  | "TooManyEntries"
  | "EmptyIPList"
  | "InvalidEntry"
  | "ValueForbidden"
  | "ValueRequired"
  | "InvalidValue"
  | "InvalidAccountId"
  | "InvalidAccessKeyId"
  | "DuplicateAccount"
  | "DuplicateAccessKey"
  | "InvalidExemption"
  | "TooLarge"
  | "HostBits"
  | "DuplicateEntry"
  | "CoveredEntry"
  | "NoStatements"
  | "PrivateAddress"
  | "NeedlessVPC"
  | "TemporaryAccessKey"
  | "MoreFindings";
