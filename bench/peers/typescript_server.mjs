// The tools on the official TypeScript SDK, with the schemas as they are: registerTool and stdio.
//
//   PEER_DEFINITIONS=tools.json SCALE_API_URL=… SCALE_API_KEY=… node typescript_server.mjs
//
// Run as a copy beside the node_modules that hold the SDK.

import { readFileSync } from "node:fs";
import { McpServer, fromJsonSchema } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

const { SCALE_API_URL, SCALE_API_KEY, PEER_DEFINITIONS } = process.env;
const headers = { Authorization: `Basic ${Buffer.from(`${SCALE_API_KEY}:`).toString("base64")}` };

const tools = JSON.parse(readFileSync(PEER_DEFINITIONS, "utf8"));

serveStdio(() => {
  const server = new McpServer({ name: "peer", version: "1" });
  for (const { name, description, inputSchema } of tools) {
    server.registerTool(name, { description, inputSchema: fromJsonSchema(inputSchema) }, async (args) => {
      if (name !== "get_task") throw new Error("not part of the measurement");
      const answer = await fetch(`${SCALE_API_URL}/task/${encodeURIComponent(args.task_id)}`, { headers });
      const task = await answer.json();
      return { content: [{ type: "text", text: JSON.stringify(task) }], structuredContent: task };
    });
  }
  return server;
});
