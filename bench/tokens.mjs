// Tokens of the forty actions' definitions (name, description, input schema) as an agent's context holds them.
//
//   npm install gpt-tokenizer            (once, anywhere; NODE_PATH or this folder)
//   python -m scale_mcp tools --json | node bench/tokens.mjs
//
// Reads tools from standard input, or from a file named as the argument: a list of {name, description, inputSchema}.
// Tools beyond the forty are counted apart. Ends with 1 when the forty pass the budget.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const BUDGET = 7000;
const SIBLINGS = new Set([
  "create_project", "prioritize_batch", "create_evaluation_task", "set_task_tags", "cancel_task", "set_teammate_role",
]);

const require = createRequire(`${process.cwd()}/`);
const { encode } = require("gpt-tokenizer/encoding/o200k_base");
const read = JSON.parse(readFileSync(process.argv[2] ?? 0, "utf8"));
const tools = Array.isArray(read) ? read : read.tools;

const lean = ({ name, description, inputSchema }) => ({ name, description, inputSchema });
const count = (value) => encode(JSON.stringify(value)).length;
const forty = tools.filter((tool) => !SIBLINGS.has(tool.name));

for (const tool of tools) {
  console.log(`${String(count(lean(tool))).padStart(6)}  ${tool.name}${SIBLINGS.has(tool.name) ? "  (not of the forty)" : ""}`);
}
const whole = JSON.stringify(forty.map(lean));
const total = count(forty.map(lean));
console.log(`${String(total).padStart(6)}  tokens for ${forty.length} tools (o200k_base), budget ${BUDGET}`);
console.log(`${String(whole.length).padStart(6)}  characters, ${(whole.length / total).toFixed(2)} per token`);
process.exitCode = total > BUDGET ? 1 : 0;
