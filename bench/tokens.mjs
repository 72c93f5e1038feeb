// Counts tokens with the o200k_base encoding, whose tables come with the package gpt-tokenizer.
//
//   node bench/tokens.mjs < texts.json        a JSON list of strings → a JSON list of numbers
//
// Run in a folder whose node_modules hold gpt-tokenizer; bench/context.py does that.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { encode } = require("gpt-tokenizer/encoding/o200k_base");
const texts = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => encode(text).length)));
