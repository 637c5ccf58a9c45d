// What several tests share. They run on the installed package: nothing here
// reads the sources.

import { readFileSync } from "node:fs";
import type { PolicySet, Request } from "keymoat";

export const repository = new URL("../../../../", import.meta.url);
export const installed = new URL("../node_modules/keymoat/", import.meta.url);

export const OPEN = "LTAI5tExample0000000001"; // may be used from everywhere
export const CLOSED = "LTAI5tExample0000000002"; // from one network, and one VPC
export const VPC = "vpc-m5ekxe1zi8zwgqrtc1234";

export const policySet: PolicySet = {
  Version: 1,
  Accounts: [
    {
      AccountId: "1000000000000001",
      AccessKeys: [
        {
          AccessKeyId: OPEN,
          AccessKeyPolicy: {
            Status: "Active",
            Statements: [{ Type: "ClassicWhiteList", IPList: ["0.0.0.0/0", "::/0"] }],
          },
        },
        {
          AccessKeyId: CLOSED,
          AccessKeyPolicy: {
            Status: "Active",
            Statements: [
              { Type: "ClassicWhiteList", IPList: "203.0.113.0/24" },
              { Type: "VPCWhiteList", Value: VPC, IPList: ["192.168.0.0/16"] },
            ],
          },
        },
      ],
    },
  ],
};

/** A policy for all keys, that lists these networks. */
export function listing(...networks: string[]): PolicySet {
  return {
    Accounts: [
      {
        AccountId: "1000000000000001",
        AccessKeyPolicy: {
          Status: "Active",
          Statements: [{ Type: "ClassicWhiteList", IPList: networks }],
        },
      },
    ],
  };
}

export function from(sourceIp: string, accessKeyId = CLOSED): Request {
  return { accessKeyId, sourceIp };
}

/** A guest that decides as the real one does, and fails for keys of these names. */
export const faultyGuest = (): Buffer =>
  readFileSync(new URL("build/typescript/faulty.wasm", repository));

export type Fault = "Exit" | "Hoard" | "Loop" | "Panic" | "Stack";

export function failing(fault: Fault): Request {
  return { accessKeyId: `LTAI5tExampleFault${fault}`, sourceIp: "203.0.113.1" };
}
