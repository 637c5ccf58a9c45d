// Reads decision words.

import { DENIAL_CODE, EFFECT_NAMES, LEVEL_NAMES, NETWORK_NAMES, REASON_NAMES } from "./abi.js";
import { blockOf } from "./address.js";
import type { Decision } from "./documents.js";

/**
 * The decision in a word whose status is 0, given in two halves; undefined if
 * there is none in it. An entry that matched is named by the source address.
 */
export function decisionOf(low: number, high: number, source: string): Decision | undefined {
  const effect = EFFECT_NAMES[(low >>> 8) & 0xff];
  const reason = REASON_NAMES[(low >>> 16) & 0xff];
  const level = LEVEL_NAMES[low >>> 24];
  const network = NETWORK_NAMES[high & 0xff];
  if (
    effect === undefined ||
    reason === undefined ||
    level === undefined ||
    network === undefined
  ) {
    return undefined;
  }
  switch (high >>> 24) {
    case 0:
      if (effect === "Deny") return { effect, reason, level, network, code: DENIAL_CODE };
      return { effect, reason, level, network };
    case 1: {
      const entry = blockOf(source, (high >>> 16) & 0xff);
      if (entry === undefined) return undefined;
      const statement = (high >>> 8) & 0xff;
      if (effect === "Deny")
        return { effect, reason, level, network, statement, entry, code: DENIAL_CODE };
      return { effect, reason, level, network, statement, entry };
    }
  }
  return undefined;
}
