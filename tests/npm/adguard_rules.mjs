// Prints, for each line of a filter list on standard input, what AdGuard's own parser makes of it, as a line of JSON.
import { readFileSync } from "node:fs";
import { RuleParser } from "@adguard/agtree";

for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const rule = RuleParser.parse(line, { tolerant: false, parseAbpSpecificRules: false, parseUboSpecificRules: false });
  const { category, type, exception = false, pattern, modifiers } = rule;
  console.log(JSON.stringify({ line, category, type, exception, pattern: pattern?.value, hasModifiers: Boolean(modifiers) }));
}
