// keymoat/express: middleware for Express, and for all else that passes on
// Node's own requests and responses.

import type { IncomingMessage, ServerResponse } from "node:http";
import { Guard, type Authorizer, type GuardOptions } from "./guard.js";

export type { Authorizer, GuardOptions, Refusal } from "./guard.js";

/** Calls next unless a request is refused. The address is that of the socket. */
export function guard(
  authorizer: Authorizer,
  options: GuardOptions = {},
): (
  request: IncomingMessage & { originalUrl?: string | undefined },
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void {
  const judge = new Guard(authorizer, options);
  return (request, response, next) => {
    void judge
      .admit(() => ({
        method: request.method ?? "",
        target: targetOf(request),
        peer: request.socket.remoteAddress,
        headers: linesOf(request.rawHeaders),
      }))
      .then((answer) => {
        // What next throws is not of this promise, which nobody looks at.
        if (answer === undefined) queueMicrotask(next);
        else if (!response.headersSent) {
          response.writeHead(answer.status, answer.headers).end(answer.body);
        }
      });
  };
}

/**
 * The request target as it was sent. If something in front has changed the
 * query, what the next one will read counts too.
 */
function targetOf({
  originalUrl,
  url = "",
}: {
  originalUrl?: string | undefined;
  url?: string | undefined;
}): string {
  const queryOf = (target: string): string => {
    const at = target.indexOf("?");
    return at < 0 ? "" : target.slice(at);
  };
  if (originalUrl === undefined || queryOf(originalUrl) === queryOf(url)) return originalUrl ?? url;
  return originalUrl + queryOf(url);
}

/** Header lines as they were sent. Of repeated ones request.headers drops some. */
function linesOf(raw: readonly string[]): [string, string][] {
  const lines: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) lines.push([raw[i]!, raw[i + 1]!]);
  return lines;
}
