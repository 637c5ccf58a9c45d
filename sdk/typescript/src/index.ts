// keymoat: decides whether a call made with an AccessKey may come from where it
// comes from. The same bytes decide in every language.

export { DENIAL_CODE, RELEASE } from "./abi.js";
export type { Effect, FindingCode, Level, Network, Reason, StatusCode } from "./abi.js";
export type * from "./documents.js";
export {
  BatchError,
  GuestError,
  InvalidAccessKeyIdError,
  InvalidDocumentError,
  InvalidImageError,
  InvalidRequestError,
  InvalidSourceIpError,
  KeymoatError,
  NotLoadedError,
  TimeoutError,
  TooLargeError,
  TrapError,
} from "./errors.js";
export { compile, Evaluator, validate, type Options } from "./evaluator.js";
