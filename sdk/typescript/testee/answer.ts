// The package at the other end of the conformance protocol that
// conformance/README.md specifies: one line in, one line out. The testees of
// Node and of Chromium share this.

import {
  BatchError,
  InvalidDocumentError,
  KeymoatError,
  validate,
  type Decision,
  type Evaluator,
  type HTTPRequest,
  type Report,
  type Request,
} from "keymoat";

/** Answers a line. Requests go the ways that users send them, and all must agree. */
export async function answer(evaluator: Evaluator, line: string): Promise<string> {
  try {
    return JSON.stringify(pascalCase(await judge(evaluator, line)));
  } catch (error) {
    return JSON.stringify({ Error: pascalCase(describe(error)) });
  }
}

async function judge(evaluator: Evaluator, line: string): Promise<unknown> {
  const [[name, value] = ["", undefined]] = Object.entries(JSON.parse(line) as object) as [
    string,
    unknown,
  ][];
  const raw = name.endsWith("Raw");
  const bytes = raw ? fromBase64(value as string) : new TextEncoder().encode(JSON.stringify(value));
  switch (raw ? name.slice(0, -"Raw".length) : name) {
    case "Load":
      return { revision: evaluator.load(bytes) };
    case "Validate":
      return validate(bytes);
    case "Evaluate":
      return evaluate(evaluator, bytes, raw ? undefined : value);
    case "Explain": {
      const request = raw ? undefined : requestOf(value);
      // It takes requests of this language alone: what is none, evaluateJSON refuses.
      if (request === undefined) evaluator.evaluateJSON(bytes);
      return evaluator.explain(request ?? requestOf(JSON.parse(new TextDecoder().decode(bytes)))!);
    }
    case "Authorize":
      return evaluator.authorize(httpRequestOf(bytes));
  }
  throw new KeymoatError("InvalidArgument", `the protocol has no verb ${name}`);
}

function evaluate(evaluator: Evaluator, bytes: Uint8Array, value: unknown): Decision {
  const request = requestOf(value);
  if (request === undefined) return evaluator.evaluateJSON(bytes);
  const answers = [
    () => evaluator.evaluate(request),
    () => alone(evaluator, request),
    () => evaluator.evaluateJSON(bytes),
  ].map(outcome);
  const [first] = answers;
  if (answers.some((other) => JSON.stringify(other) !== JSON.stringify(first))) {
    throw new Error(`evaluate, evaluateMany and evaluateJSON disagree: ${JSON.stringify(answers)}`);
  }
  return evaluator.evaluate(request);
}

function alone(evaluator: Evaluator, request: Request): Decision | undefined {
  try {
    return evaluator.evaluateMany([request])[0];
  } catch (error) {
    throw error instanceof BatchError ? error.errors.get(0) : error;
  }
}

function outcome(call: () => Decision | undefined): unknown {
  try {
    // In the order of names, which is not part of an answer.
    return Object.entries(call() ?? {}).sort(([a], [b]) => a.localeCompare(b));
  } catch (error) {
    return describe(error).code;
  }
}

const FIELDS = new Map<string, keyof Request>([
  ["AccessKeyId", "accessKeyId"],
  ["SourceIp", "sourceIp"],
  ["VpcId", "vpcId"],
  ["AccountId", "accountId"],
  ["Service", "service"],
  ["Action", "action"],
  ["Protocol", "protocol"],
]);

/** The request that a value is; undefined if this language has none like it. */
function requestOf(value: unknown): Request | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const request: Record<string, string> = {};
  for (const [name, field] of Object.entries(value)) {
    const known = FIELDS.get(name);
    if (known === undefined || typeof field !== "string") return undefined;
    request[known] = field;
  }
  return request as unknown as Request;
}

/** Reads an HTTP request as strictly as the guest reads requests. */
function httpRequestOf(bytes: Uint8Array): HTTPRequest {
  const refused = new KeymoatError("InvalidRequest", "this is no HTTP request");
  const text = new TextDecoder().decode(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refused;
  }
  // Of a field that stands there twice one is lost.
  const strings = (json: string): number => json.match(/"(?:[^"\\]|\\.)*"/g)?.length ?? 0;
  if (strings(JSON.stringify(value)) !== strings(text)) throw refused;
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refused;
  const {
    Target,
    Headers = [],
    DenyMissingAccessKey,
    DenyFormBody,
    ...others
  } = value as Record<string, unknown>;
  const request = requestOf(others);
  if (request === undefined || "accessKeyId" in request || !Array.isArray(Headers)) throw refused;
  return {
    ...(request as Omit<HTTPRequest, "target">),
    target: Target as string, // authorize refuses what is none of these
    headers: Headers.map((header: unknown) => {
      const { Name, Value, ...more } = { ...(header as Record<string, string>) };
      if (Object.keys(more).length > 0) throw refused;
      return [Name!, Value!] as const;
    }),
    denyMissingAccessKey: DenyMissingAccessKey as boolean | undefined,
    denyFormBody: DenyFormBody as boolean | undefined,
  };
}

function describe(error: unknown): { code: string; message: string; report?: Report } {
  if (error instanceof InvalidDocumentError) {
    return { code: error.code, message: error.message, report: error.report };
  }
  if (error instanceof KeymoatError) return { code: error.code, message: error.message };
  return { code: "Internal", message: String(error) };
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** Spells the names of an answer as JSON has them in all languages. */
function pascalCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pascalCase);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name.charAt(0).toUpperCase() + name.slice(1),
      pascalCase(member),
    ]),
  );
}
