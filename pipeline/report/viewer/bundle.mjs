// niivue.js: NiiVue's own bundle, with the licence of everything in it on top, because every page carries it along.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8")).packages;
const notices = [`@niivue/niivue\n\n${readFileSync("LICENSE-niivue", "utf8")}`];
for (const folder of Object.keys(lock)) {
  if (!folder || folder.endsWith("@niivue/niivue") || lock[folder].optional) continue;
  const file = existsSync(folder) && readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  if (!file) throw new Error(`${folder} has no licence file`);
  notices.push(`${folder.replace("node_modules/", "")} ${lock[folder].version}\n\n${readFileSync(`${folder}/${file}`, "utf8")}`);
}
const code = readFileSync("node_modules/@niivue/niivue/dist/niivue.umd.js", "utf8");
writeFileSync("niivue.js", `/*\n${notices.join("\n----\n").replaceAll("*/", "* /")}\n*/\n${code}`);
