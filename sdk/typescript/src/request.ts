// The binary forms of requests, as abi/README.md lays them out.

import {
  HEADER_SIZE,
  HTTP_FLAG_DENY_FORM_BODY,
  HTTP_FLAG_DENY_MISSING,
  MAX_FIELD,
  MAX_HTTP_REQUEST_SIZE,
  MAX_REQUEST_SIZE,
  SOURCE_IPV4,
  SOURCE_NONE,
  SOURCE_TEXT,
  STATUS_CODES,
  type StatusCode,
} from "./abi.js";
import { parseIPv4 } from "./address.js";
import type { HTTPRequest, Request } from "./documents.js";

const INVALID_REQUEST = -STATUS_CODES.indexOf("InvalidRequest");
const INVALID_ACCESS_KEY_ID = -STATUS_CODES.indexOf("InvalidAccessKeyId");
const INVALID_SOURCE_IP = -STATUS_CODES.indexOf("InvalidSourceIp");
const TOO_LARGE = -STATUS_CODES.indexOf("TooLarge");

const encoder = new TextEncoder();

/**
 * Writes a request at an offset, from which MAX_REQUEST_SIZE bytes must be
 * free, and returns its length. If it has no binary form that is the status,
 * negative. What has one is for the guest to judge.
 *
 * An address goes as text, so that all hosts read alike. A plain dotted quad is
 * the exception: it is read here, which halves the time of a call, and the
 * tests hold that to the guest's reading.
 */
export function putRequest(to: Uint8Array, at: number, request: Request): number {
  return put(to, at, request.accessKeyId, request);
}

function put(
  to: Uint8Array,
  start: number,
  accessKeyId: string,
  request: Omit<Request, "accessKeyId">,
): number {
  let at = start + HEADER_SIZE;
  let before = at;
  if ((at = putText(to, at, accessKeyId)) < 0) return wrong(accessKeyId, INVALID_ACCESS_KEY_ID);
  to[start + 2] = at - before;
  before = at;
  if ((at = putText(to, at, request.vpcId)) < 0) return INVALID_REQUEST;
  to[start + 3] = at - before;
  before = at;
  if ((at = putText(to, at, request.accountId)) < 0) return INVALID_REQUEST;
  to[start + 4] = at - before;
  before = at;
  if ((at = putText(to, at, request.service)) < 0) return INVALID_REQUEST;
  to[start + 5] = at - before;
  before = at;
  if ((at = putText(to, at, request.action)) < 0) return INVALID_REQUEST;
  to[start + 6] = at - before;
  before = at;
  if ((at = putText(to, at, request.protocol)) < 0) return INVALID_REQUEST;
  to[start + 7] = at - before;
  to[start + 1] = 0;

  const source = request.sourceIp;
  const ipv4 = typeof source === "string" ? parseIPv4(source) : -1;
  if (ipv4 >= 0) {
    to[start] = SOURCE_IPV4;
    to[start + 8] = ipv4 >>> 24;
    to[start + 9] = ipv4 >>> 16;
    to[start + 10] = ipv4 >>> 8;
    to[start + 11] = ipv4;
    return at - start;
  }
  before = at;
  if ((at = putText(to, at, source)) < 0) return wrong(source, INVALID_SOURCE_IP);
  to[start] = at === before ? SOURCE_NONE : SOURCE_TEXT;
  to[start + 1] = at - before;
  return at - start;
}

/** The fault of a field that has no binary form: text that is too long, or no text. */
function wrong(value: unknown, unreadable: number): number {
  return typeof value === "string" ? unreadable : INVALID_REQUEST;
}

/**
 * Writes a field and returns where it ends, or -1 if it is too long or no
 * text. A loop over the letters of an id is quicker than TextEncoder.
 */
function putText(to: Uint8Array, at: number, text: string | undefined): number {
  if (text === undefined) return at;
  if (typeof text !== "string" || text.length > MAX_FIELD) return -1;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0x7f) return putUnicode(to, at, text);
    to[at + i] = c;
  }
  return at + text.length;
}

function putUnicode(to: Uint8Array, at: number, text: string): number {
  if (!text.isWellFormed()) return -1;
  const { read, written } = encoder.encodeInto(text, to.subarray(at, at + MAX_FIELD));
  return read === text.length ? at + written : -1;
}

/** Bytes that suffice for the binary form of an HTTP request that is not too large. */
export function httpRoom(
  request: HTTPRequest,
  headers: readonly (readonly [string, string])[],
): number {
  const most = 3; // bytes that one unit of a string can take
  let size = 2 * MAX_REQUEST_SIZE + most * request.target.length;
  for (const [name, value] of headers) size += 8 + most * (name.length + value.length);
  return Math.min(size, MAX_HTTP_REQUEST_SIZE);
}

/** Writes an HTTP request into its room, and returns as putRequest does. */
export function putHTTPRequest(
  to: Uint8Array,
  request: HTTPRequest,
  headers: readonly (readonly [string, string])[],
): number {
  let at = put(to, 0, "", request);
  if (at < 0) return at;
  to[2] =
    (request.denyMissingAccessKey === true ? HTTP_FLAG_DENY_MISSING : 0) |
    (request.denyFormBody === true ? HTTP_FLAG_DENY_FORM_BODY : 0);
  const view = new DataView(to.buffer, to.byteOffset, to.byteLength);
  let fits = true;
  const number = (value: number, numberAt: number): void => {
    if (numberAt + 4 <= to.length) view.setUint32(numberAt, value, true);
    else fits = false;
  };
  const long = (text: string, lengthAt: number): void => {
    const { read, written } = encoder.encodeInto(text, to.subarray(at));
    if (read < text.length) fits = false;
    number(written, lengthAt);
    at += written;
  };
  at += 4;
  long(request.target, at - 4);
  number(headers.length, at);
  at += 4;
  for (const [name, value] of headers) {
    at += 8;
    const lengths = at - 8;
    long(name, lengths);
    long(value, lengths + 4);
  }
  return fits ? at : TOO_LARGE;
}

/** Says whether values that a program without types passed make an HTTP request. */
export function isHTTPRequest(
  request: HTTPRequest,
  headers: readonly (readonly [string, string])[],
): boolean {
  const isText = (value: unknown): boolean => typeof value === "string";
  const isFlag = (value: unknown): boolean => value === undefined || typeof value === "boolean";
  return (
    isText(request.target) &&
    headers.every(
      (header) => Array.isArray(header) && header.length === 2 && header.every(isText),
    ) &&
    isFlag(request.denyMissingAccessKey) &&
    isFlag(request.denyFormBody)
  );
}

/** The code of a negative length. */
export function codeOfLength(length: number): StatusCode {
  return STATUS_CODES[-length] ?? "Internal";
}
