// A web server behind which only those callers come whose AccessKey may be used
// from where they are. It listens on the loopback interface alone, asks itself
// a few questions, and ends. Run it with the package keymoat installed:
//
//     node server.mjs

import { createServer } from "node:http";
import { Evaluator } from "keymoat";
import { guard } from "keymoat/express";

const evaluator = await Evaluator.fromJSON({
  Accounts: [
    {
      AccountId: "1000000000000001",
      AccessKeyPolicy: {
        Status: "Active",
        Statements: [{ Type: "ClassicWhiteList", IPList: ["203.0.113.0/24"] }],
      },
    },
  ],
});

// The middleware takes Node's own requests, with or without Express. Here a
// proxy on this host is believed.
const admit = guard(evaluator, {
  forwardedFor: ["127.0.0.0/8"],
  onRefusal: ({ sourceIp, decision, problem }) =>
    console.log(`refused ${sourceIp}: ${decision?.reason ?? problem}`),
});
const server = createServer((request, response) => {
  admit(request, response, () => response.end("served\n"));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));

async function call(caller) {
  const response = await fetch(`http://127.0.0.1:${server.address().port}/`, {
    headers: {
      Authorization: "acs LTAI5tExample0000000001:c2lnbmF0dXJl",
      "X-Forwarded-For": caller,
    },
  });
  console.log(caller, response.status, (await response.text()).trim());
}

await call("203.0.113.7");
await call("198.51.100.7");

// Rules change while requests are served: from here on no call sees the old ones.
evaluator.load({
  Accounts: [
    {
      AccountId: "1000000000000001",
      AccessKeyPolicy: {
        Status: "Active",
        Statements: [{ Type: "ClassicWhiteList", IPList: ["198.51.100.0/24"] }],
      },
    },
  ],
});
await call("198.51.100.7");
server.close();
