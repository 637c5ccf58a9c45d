// keymoat/fetch: keymoat in front of a handler that takes a Request and returns
// a Response, as Deno, Bun, service workers and many frameworks have them.

import { Guard, type Authorizer, type GuardOptions } from "./guard.js";

export type { Authorizer, GuardOptions, Refusal } from "./guard.js";

export interface FetchOptions<Info extends unknown[]> extends GuardOptions {
  /**
   * The address of the peer of the connection that a request came on. A Request
   * does not have it: where it stands depends on what serves.
   */
  readonly clientAddress: (
    request: Request,
    ...info: Info
  ) => string | undefined | Promise<string | undefined>;
}

/** Passes requests on to a handler unless they are refused. */
export function guard<Info extends unknown[]>(
  authorizer: Authorizer,
  handler: (request: Request, ...info: Info) => Response | Promise<Response>,
  options: FetchOptions<Info>,
): (request: Request, ...info: Info) => Promise<Response> {
  const judge = new Guard(authorizer, options);
  if (typeof handler !== "function") throw new TypeError("the handler is not a function");
  if (typeof options.clientAddress !== "function") {
    throw new TypeError(
      "clientAddress is not a function; it returns the address of the peer of a request's connection",
    );
  }
  return async (request, ...info) => {
    const answer = await judge.admit(async () => ({
      method: request.method,
      target: targetOf(request.url),
      peer: await options.clientAddress(request, ...info),
      headers: [...request.headers],
    }));
    return answer === undefined ? handler(request, ...info) : new Response(answer.body, answer);
  };
}

/** All of a URL that stands behind the host. */
function targetOf(url: string): string {
  return url.slice(url.indexOf("/", url.indexOf("//") + 2));
}
